"""Contrast by tiles, on one device and round a ring of eight, is contrast by the whole matrix."""

import functools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import parity
import pytest
import tiny

from configs import ltn
from tvrl_jax import losses, sharding, state, step
from tvrl_jax.learner import find_objective, make_learner
from tvrl_jax.losses.sweep import alone

BATCH, WIDTH, TAU = 16, 8, 0.1  # 32 embeddings
FORMS = {"tiles": (5, alone, 1), "ring": (3, sharding.over_devices, 8)}  # tile, spread, devices
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def difficult(dtype):
    """Embeddings with rows that do not count, equal rows, opposite ones and rows of zeros."""
    z_BVE = np.random.default_rng(0).normal(size=(BATCH, 2, WIDTH)).astype(dtype)
    z_BVE[3] = z_BVE[2]
    z_BVE[4, 1] = z_BVE[4, 0]
    z_BVE[5, 1] = -z_BVE[5, 0]
    z_BVE[6] = 0
    z_BVE[7, 0] = 0
    valid_B = np.arange(BATCH) % 5 != 1
    z_BVE[1] = 1e3 * z_BVE[2]  # does not count
    subject_B = np.array([0, 0, 7, 3, 3, 3, 3, 1, 1, 2, 4, 5, 6, 6, 6, 9])
    return z_BVE, subject_B, valid_B


def pairs(z_BVE, subject_B, valid_B, **form):
    return losses.info_nce(z_BVE[:, 0], z_BVE[:, 1], valid_B, temperature=TAU, **form)


def patients(z_BVE, subject_B, valid_B, temperature=TAU, **form):
    return losses.sup_con(z_BVE, subject_B, valid_B, temperature=temperature, **form)


@functools.cache
def compiled(rule, tile, spread):
    """(z, subject, valid, weight) -> Contrast and the gradient of the weighted sum of its loss."""

    @jax.jit
    def both(z_BVE, subject_B, valid_B, weight):
        def total(z_BVE):
            each = rule(z_BVE, subject_B, valid_B, tile=tile, spread=spread)
            return jnp.sum(weight.reshape(each.loss.shape) * each.loss), each

        return jax.grad(total, has_aux=True)(z_BVE)

    return both


def run(rule, form, z_BVE, *others):
    tile, spread, devices = form
    mesh = jax.make_mesh((devices,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    weight = np.random.default_rng(1).normal(size=z_BVE[..., 0].size).astype(z_BVE.dtype)
    with jax.set_mesh(mesh):
        arrays = jax.device_put((z_BVE, *others, weight), sharding.over_batch(mesh))
        return jax.device_get(compiled(rule, tile, spread)(*arrays))


@pytest.mark.parametrize("precision", parity.PRECISIONS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", [pairs, patients])
def test_any_form_gives_the_plain_values_and_gradients(rule, form, precision):
    with parity.precision(precision) as dtype:
        inputs = difficult(dtype)
        gradient, each = run(rule, FORMS[form], *inputs)
        plain_gradient, plain = run(rule, (0, alone, 1), *inputs)
    limit = TOLERANCE[precision]
    for name, value in each._asdict().items():
        np.testing.assert_allclose(
            value, getattr(plain, name), rtol=limit, atol=limit, err_msg=name
        )
    assert gradient.dtype == dtype
    # A row of zeros is divided by 1e-8: its gradient is a hundred million times the others'.
    for row, plain_row in zip(gradient, plain_gradient, strict=True):
        assert np.abs(row - plain_row).max() <= 2 * limit * np.abs(plain_row).max()


def test_nothing_that_counts_is_zero_and_finite():
    z_BVE, subject_B, valid_B = difficult(np.float32)
    for rule in (pairs, patients):
        gradient, each = run(rule, FORMS["tiles"], z_BVE, subject_B, 0 * valid_B == 1)
        assert not np.any(gradient)
        assert not any(np.any(value) for value in each)


def test_a_small_temperature_overflows_nothing():
    """exp(1 / 0.005) is beyond float32: sums are taken relative to the largest logit."""
    z_BVE, _, valid_B = difficult(np.float32)
    each = [
        losses.info_nce(z_BVE[:, 0], z_BVE[:, 1], valid_B, temperature=0.005, tile=tile)
        for tile in (0, 5)
    ]
    assert np.isfinite(each[1].loss).all()
    np.testing.assert_allclose(each[1].loss, each[0].loss, rtol=2e-6, atol=1e-4)


def test_the_gradient_of_the_temperature_is_that_of_the_matrix():
    z_BVE, subject_B, valid_B = difficult(np.float32)

    def total(temperature, tile):
        each = losses.sup_con(z_BVE, subject_B, valid_B, temperature=temperature, tile=tile)
        return jnp.sum(each.loss)

    plain, tiled = (jax.grad(total)(0.2, tile) for tile in (0, 7))
    np.testing.assert_allclose(tiled, plain, rtol=1e-5)


def test_a_collapsed_embedding_is_tied_in_every_tile():
    point_BVE = np.tile(np.float32([0.3, -0.1, 0.7]), (BATCH, 2, 1))
    everyone = np.ones(BATCH, bool)
    for form in FORMS.values():
        each = run(pairs, form, point_BVE, np.arange(BATCH), everyone)[1]
        assert not each.closer.any()
        assert (each.tied == 2 * BATCH - 2).all()


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("tile", [0, 4])
def test_info_nce_is_of_two_views(views, tile):
    with pytest.raises(ValueError, match=f"of 2 views, not of {views}"):
        losses.contrast_views(np.ones((4, views, 3)), np.ones(4, bool), temperature=1, tile=tile)


def test_rows_are_not_spread_within_a_mesh_of_other_axes():
    assert not sharding.is_spread()
    for axes, spread in ((("model",), False), ((sharding.AXIS,), True)):
        kinds = (jax.sharding.AxisType.Auto,)
        with jax.set_mesh(jax.make_mesh((2,), axes, axis_types=kinds)):
            assert sharding.is_spread() == spread
            x_N = sharding.over_devices(lambda x_N, axis: x_N + (axis is not None), np.zeros(4))
            np.testing.assert_array_equal(x_N, spread)


def program(batch, tile, spread, devices):
    """The compiled loss and its gradient for a batch of 128-wide embeddings, never run."""
    mesh = jax.make_mesh((devices,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    place = sharding.over_batch(mesh)

    def mean(z_BVE):
        each = losses.contrast_views(
            z_BVE, jnp.ones(batch, bool), temperature=TAU, tile=tile, spread=spread
        )
        return jnp.mean(each.loss), each

    shape = jax.ShapeDtypeStruct((batch, 2, 128), jnp.float32, sharding=place)
    with jax.set_mesh(mesh):
        step = jax.jit(jax.value_and_grad(mean, has_aux=True), out_shardings=place_of(place))
        return step.lower(shape).compile()


def place_of(place):
    whole = jax.sharding.NamedSharding(place.mesh, jax.sharding.PartitionSpec())
    return ((whole, place), place)


def test_memory_grows_as_the_batch():
    def needed(batch, tile):
        return program(batch, tile, alone, 1).memory_analysis().temp_size_in_bytes

    few, many = needed(1024, 256), needed(4096, 256)
    assert many < 4.1 * few  # four times the rows
    assert needed(4096, 0) > 8192**2 * 4 > 4 * many  # the matrix, 256 MiB


def test_round_the_ring_go_only_rows_and_no_device_holds_more_than_its_share():
    batch, tile, devices = 1024, 64, 8
    text = program(batch, tile, sharding.over_devices, devices).as_text()
    collectives = re.findall(r"= (\S+) ([\w-]*(?:all-|reduce-scatter|permute)[\w-]*)\(", text)
    assert {name for shape, name in collectives if shape != "f32[]"} == {"collective-permute"}
    shapes = re.findall(r"(?:f32|s32|pred)\[([\d,]+)\]", text)
    largest = max(math.prod(map(int, shape.split(","))) for shape in shapes)
    assert largest == 2 * batch // devices * 128  # its embeddings


@jax.jit
def sup_con_and_gradient(z_BVE, subject_B, valid_B, queries_V, temperature):
    def mean(z_BVE):
        each = patients(z_BVE, subject_B, valid_B, temperature, tile=7)
        return losses.masked_mean(each.loss, (each.positives > 0) & queries_V)

    return jax.value_and_grad(mean)(z_BVE)


@pytest.mark.parametrize("precision", parity.PRECISIONS)
def test_sup_con_meets_the_recording(parity_dir, precision):
    """The reference multiplies its loss by T / 0.07. Its `mask_asym` is no grouping: left out."""
    recording = parity.load(parity_dir, "13a_cltci_supcon")
    limit = {"float32": 1e-5, "float64": 1e-10}[precision]
    with parity.precision(precision) as dtype:
        for about in recording.about["cases"]:
            case, array = about["case"], recording.array
            if case == "mask_asym":
                continue
            z_BVE = array[f"in/{case}_features"].astype(dtype)
            batch, views = z_BVE.shape[:2]
            z_BVE = z_BVE.reshape(batch, views, -1)
            subject_B = array.get(f"in/{case}_labels", np.arange(batch))
            queries_V = np.arange(views) < (1 if "contrast_mode" in about else views)
            loss, gradient = sup_con_and_gradient(
                z_BVE, subject_B, np.ones(batch, bool), queries_V, about["temperature"]
            )
            scale = 0.07 / about["temperature"]
            np.testing.assert_allclose(loss, scale * array[f"out/{case}_loss"], rtol=limit)
            expected = scale * array[f"grad/{case}_features"].reshape(z_BVE.shape)
            error = np.abs(gradient - expected).max()
            assert error <= limit * np.abs(expected).max(), (case, error)


def naive_sup_con(z_BVE, subject_B, valid_B, temperature):
    """Plain loops over queries and keys: mean loss of the queries that have positives."""
    z = z_BVE.reshape(-1, z_BVE.shape[-1]).astype(np.float64)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-8)
    views, found = z_BVE.shape[1], []
    keys = np.flatnonzero(np.repeat(valid_B, views))
    subject = np.repeat(subject_B, views)
    for i in keys:
        logit = {j: z[i] @ z[j] / temperature for j in keys if j != i}
        log_total = np.log(sum(np.exp(v) for v in logit.values()))
        wanted = [v - log_total for j, v in logit.items() if subject[j] == subject[i]]
        nearest = max(v for j, v in logit.items() if subject[j] == subject[i])
        closer = sum(v > nearest for j, v in logit.items() if subject[j] != subject[i])
        found.append((-np.mean(wanted), closer, len(wanted)))
    return np.array(found)


@pytest.mark.parametrize("tile", [0, 5])
def test_sup_con_equals_naive_loops(tile):
    z_BVE, subject_B, valid_B = difficult(np.float32)
    each = patients(z_BVE, subject_B, valid_B, tile=tile)
    loss, closer, positives = naive_sup_con(z_BVE, subject_B, valid_B, TAU).T
    np.testing.assert_allclose(each.loss[valid_B].ravel(), loss, rtol=2e-6)
    np.testing.assert_array_equal(each.closer[valid_B].ravel(), closer)
    np.testing.assert_array_equal(each.positives[valid_B].ravel(), positives)
    assert not np.any(np.asarray(each.loss)[~valid_B])


def test_a_query_without_positives_has_no_loss():
    """One view, one image of patient 1: nothing ought to be near it, but it is a key to others."""
    z_BVE = np.random.default_rng(0).normal(size=(5, 1, 4)).astype(np.float32)
    subject_B, everyone = np.array([0, 0, 1, 2, 2]), np.ones(5, bool)
    for tile in (0, 2):
        gradient, each = run(patients, (tile, alone, 1), z_BVE, subject_B, everyone)
        np.testing.assert_array_equal(each.positives[:, 0], [1, 1, 0, 1, 1])
        assert each.loss[2] == 0 and np.any(gradient[2])


def clips(series=8, frames=4, side=32):
    rng = np.random.default_rng(0)
    return dict(
        clip_BVTHWC=rng.integers(0, 256, (series, 2, frames, side, side, 1), np.uint8),
        time_BVT=np.tile(np.arange(frames, dtype=np.float32), (series, 2, 1)),
        valid_BVT=np.ones((series, 2, frames), bool),
        anchor_BV=rng.random((series, 2)).astype(np.float32),
        subject_B=np.arange(series, dtype=np.int32) // 2,
        weight_B=np.float32([1, 1, 1, 1, 1, 0, 1, 1]),
    )


def train(tile, devices):
    """One step of plain descent at rate 1: how far the parameters moved, and what was logged."""
    config = tiny.shrink(ltn.get_config(), Path("/nowhere"))
    config.model.stem = "patch"
    config.train.contrast_tile = tile
    learner = make_learner(config, find_objective(config), store=None)
    learner = learner._replace(tx=optax.sgd(1.0))
    mesh = jax.make_mesh((devices,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    before = state.create_sharded(
        learner.network, learner.tx, seed=0, ema=0.0, mesh=mesh, kind="data"
    )
    with jax.set_mesh(mesh):
        compiled = jax.jit(functools.partial(step.train_step, learner))
        after, logged, _ = compiled(before, sharding.put(clips(), mesh))
    moved = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before.params, after.params)
    return moved, jax.device_get(logged)


def test_a_training_step_is_the_same_by_matrix_by_tiles_and_round_the_ring():
    moved, logged = train(0, 1)
    largest = max(np.abs(x).max() for x in jax.tree.leaves(moved))
    for form in ((5, 1), (5, 8)):
        moved_too, logged_too = train(*form)
        for name, value in logged.items():
            np.testing.assert_allclose(logged_too[name], value, rtol=2e-6, atol=1e-6, err_msg=name)
        for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(moved_too), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * largest)
