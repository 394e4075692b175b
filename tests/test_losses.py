import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest

from tvrl_jax import losses


def embeddings(batch: int, width: int = 8, seed: int = 0):
    return np.random.default_rng(seed).normal(size=(2, batch, width)).astype(np.float32)


@jax.jit
def mean_loss(first, second, valid, temperature=0.1):
    each = losses.info_nce(first, second, valid, temperature=temperature)
    return losses.masked_mean(each.loss, jnp.tile(valid, 2))


def naive_info_nce(first, second, valid, temperature):
    """Two plain loops: for every valid query its positive against all other valid keys."""
    z = np.concatenate([first, second]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    batch, keep, loss, rank = len(first), np.tile(valid, 2), [], []
    for i in np.flatnonzero(keep):
        positive = (i + batch) % (2 * batch)
        logit = {j: z[i] @ z[j] / temperature for j in np.flatnonzero(keep) if j != i}
        loss.append(np.log(sum(np.exp(v) for v in logit.values())) - logit[positive])
        rank.append(sum(v > logit[positive] for v in logit.values()))
    return np.mean(loss), np.array(rank)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_info_nce_equals_a_naive_double_loop(temperature):
    first, second = embeddings(9)
    valid = np.array([1, 1, 0, 1, 1, 1, 0, 1, 1], bool)
    loss, rank = naive_info_nce(first, second, valid, temperature)
    each = losses.info_nce(first, second, jnp.asarray(valid), temperature=temperature)
    np.testing.assert_allclose(mean_loss(first, second, valid, temperature), loss, rtol=2e-6)
    np.testing.assert_array_equal(each.closer[np.tile(valid, 2)], rank)


def test_rows_of_weight_zero_are_as_if_absent():
    first, second = embeddings(7)
    valid = np.arange(7) < 5
    spoilt = np.where(valid[:, None], first, 1e3 * second[::-1])
    grad = jax.jit(jax.grad(mean_loss, (0, 1)))
    whole, part = grad(spoilt, second, valid), grad(first[:5], second[:5], valid[:5])
    np.testing.assert_allclose(
        mean_loss(spoilt, second, valid), mean_loss(first[:5], second[:5], valid[:5]), rtol=1e-6
    )
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[:5], b, atol=1e-7)
        np.testing.assert_array_equal(a[5:], 0)


def test_nothing_valid_is_zero_and_finite():
    first, second = embeddings(4)
    value, grad = jax.jit(jax.value_and_grad(mean_loss))(first, second, np.zeros(4, bool))
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


def test_bfloat16_embeddings_are_compared_in_float32():
    first, second = (jnp.asarray(e, jnp.bfloat16) for e in embeddings(6))
    each = losses.info_nce(first, second, jnp.ones(6, bool), temperature=0.1)
    rounded = [np.asarray(e, np.float32) for e in (first, second)]
    exact = naive_info_nce(*rounded, np.ones(6, bool), 0.1)[0]
    assert each.loss.dtype == jnp.float32
    np.testing.assert_allclose(each.loss.mean(), exact, rtol=1e-5)


def test_masked_mean_counts_only_what_is_set():
    value, mask = jnp.array([1.0, jnp.nan, 3.0, 5.0]), jnp.array([1.0, 0.0, 1.0, 0.0])
    assert losses.masked_mean(value, mask) == 2
    grad = jax.grad(losses.masked_mean)(value, mask)
    np.testing.assert_array_equal(grad, [0.5, 0, 0.5, 0])


def test_masked_mean_of_nothing_is_zero_with_zero_gradient():
    value, grad = jax.value_and_grad(losses.masked_mean)(jnp.ones(3), jnp.zeros(3))
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


def test_smooth_l1_is_quadratic_then_linear():
    gap = jnp.array([[0.5], [1.0], [3.0]])
    np.testing.assert_allclose(losses.smooth_l1(gap, 0 * gap), [0.125, 0.5, 2.5])


def test_standardise_has_zero_mean_and_unit_variance_and_stands_a_constant():
    x = np.random.default_rng(0).normal(3, 2, (4, 50)).astype(np.float32)
    y = np.asarray(losses.standardise(x, eps=1e-6))
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(-1), 1, rtol=1e-5)
    assert np.isfinite(losses.standardise(np.ones((1, 5)), eps=1e-6)).all()


def test_missing_targets_have_no_loss_and_no_gradient():
    def total(prediction, target):
        return jnp.sum(losses.squared_error(prediction, target)[0])

    prediction = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    target = jnp.array([[0.0, jnp.nan], [jnp.nan, 4.5]])
    value, grad = jax.value_and_grad(total)(prediction, target)
    assert value == 1.25
    np.testing.assert_array_equal(grad, [[2, 0], [0, -1]])
    np.testing.assert_array_equal(losses.squared_error(prediction, target)[1], ~np.isnan(target))


def test_cross_entropy_matches_its_definition_and_skips_the_missing():
    logit = jnp.array([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [9.0, 0.0, 0.0]])
    loss, known = losses.cross_entropy(logit, jnp.array([1.0, 2.0, jnp.nan]))
    p = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
    np.testing.assert_allclose(loss, [-np.log(p[0, 1]), -np.log(p[1, 2]), 0], rtol=1e-6)
    np.testing.assert_array_equal(known, [True, True, False])


@jax.jit
def info_nce_and_gradients(first, second, valid, temperature):
    each = losses.info_nce(first, second, valid, temperature=temperature)
    return each, jax.value_and_grad(mean_loss, (0, 1))(first, second, valid, temperature)


def framed(array, rows, width):
    """Zero rows and columns beyond the array's own: one program for cases of every shape."""
    return np.pad(array, ((0, rows - array.shape[0]), (0, width - array.shape[1])))


@pytest.mark.parametrize("precision", parity.PRECISIONS)
def test_info_nce_meets_the_recording(parity_dir, precision):
    recording = parity.load(parity_dir, "05_infonce")
    cases, array = recording.about["cases"], recording.array
    rows, width = (max(about[name] for about in cases) for name in "ND")
    # float32: rtol 1e-5 as recorded. float64: 1e-10; the gradients are stored rounded to float32.
    rtol, gradient_rtol = {"float32": (1e-5, 1e-5), "float64": (1e-10, 2e-7)}[precision]
    with parity.precision(precision) as dtype:
        for about in cases:
            case, count = about["case"], about["N"]
            pair = [framed(array[f"in/{case}_feat{v}"].astype(dtype), rows, width) for v in (1, 2)]
            tau, valid = float(array[f"in/{case}_tau"]), np.arange(rows) < count
            each, (loss, grads) = info_nce_and_gradients(*pair, valid, tau)
            recorded, ranks = array[f"out/{case}_loss"], array[f"out/{case}_sim_argsort"]
            np.testing.assert_allclose(loss, recorded, rtol=rtol, atol=rtol / 10, err_msg=case)
            closer, tied = (np.asarray(x)[np.tile(valid, 2)] for x in (each.closer, each.tied))
            untied = tied == 0  # between ties the recording's sort chose freely
            np.testing.assert_array_equal(closer[untied], ranks[untied])
            recorded = [framed(array[f"grad/{case}_feat{v}"], rows, width) for v in (1, 2)]
            error = np.abs(np.stack(grads) - np.stack(recorded)).max()
            assert error <= gradient_rtol * np.abs(recorded).max(), (case, error)


@pytest.mark.parametrize("precision", parity.PRECISIONS)
def test_negative_cosine_meets_the_recording(parity_dir, precision):
    recording = parity.load(parity_dir, "05b_negative_cosine")

    def mean(x, y):  # the recording's vectors lie along axis 1
        return jnp.mean(losses.negative_cosine(jnp.moveaxis(x, 1, -1), jnp.moveaxis(y, 1, -1)))

    mean_and_gradients = jax.jit(jax.value_and_grad(mean, (0, 1)))
    single = precision == "float32"
    with parity.precision(precision) as dtype:
        for about in recording.about["cases"]:
            case, array = about["case"], recording.array
            if single and ("tiny" in case or "zero" in case):
                continue  # excepted by the sidecar
            pair = [jnp.asarray(array[f"in/{case}_{v}"], dtype) for v in "xy"]
            loss, grads = mean_and_gradients(*pair)
            limit = 1e-5 if single else 1e-10
            np.testing.assert_allclose(loss, array[f"out/{case}_loss"], rtol=limit)
            for v, grad in zip("xy", grads, strict=True):
                expected = array[f"grad/{case}_{v}"]
                # Parallel vectors have zero gradient: what is left is rounding.
                floor = 1e-8 if single else 1e-16
                assert np.abs(grad - expected).max() <= limit * np.abs(expected).max() + floor, case
