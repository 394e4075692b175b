import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tvrl_jax import losses, metrics


def retrieval(first, second, valid=None, tile=0):
    valid = jnp.ones(len(first), bool) if valid is None else jnp.asarray(valid)
    each = losses.info_nce(first, second, valid, temperature=0.1, tile=tile)
    return metrics.retrieval(each, jnp.tile(valid, 2))


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_of_known_matrices(rank):
    matrix = np.zeros((7, 5), np.float32)
    matrix[range(rank), range(rank)] = 3.0
    np.testing.assert_allclose(metrics.effective_rank(matrix), rank, rtol=1e-5)


def test_effective_rank_follows_its_definition():
    p = np.array([0.7, 0.2, 0.1])
    expected = np.exp(-(p * np.log(p)).sum())
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(metrics.effective_rank(turn @ np.diag(9 * p)), expected, rtol=1e-5)


def test_a_collapsed_embedding_has_rank_one_and_retrieves_at_chance():
    point = np.tile(np.array([[0.5, -0.25, 2.0, 1.0]], np.float32), (8, 1))
    np.testing.assert_allclose(metrics.effective_rank(point), 1, rtol=1e-3)
    assert metrics.effective_rank(0 * point) == 1
    found = retrieval(point, point)
    np.testing.assert_allclose(found["top1"], 1 / 15, rtol=1e-6)
    np.testing.assert_allclose(found["mean_rank"], 8, rtol=1e-6)


def test_retrieval_of_a_perfect_and_of_a_shuffled_embedding():
    z = np.random.default_rng(0).normal(size=(16, 32)).astype(np.float32)
    perfect = retrieval(z, z + 1e-3)
    assert perfect["top1"] == perfect["top5"] == perfect["mean_rank"] == 1
    shuffled = retrieval(z, np.roll(z, 1, axis=0))
    assert shuffled["top1"] == 0 and shuffled["mean_rank"] >= 2


@pytest.mark.parametrize("tile", [0, 5])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_retrieve_nothing(bad, tile):
    z = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)
    for broken in (np.full_like(z, bad), np.where(np.arange(9)[:, None] == 7, bad, z)):
        found = retrieval(*broken.astype(np.float32), tile=tile)
        assert all(np.isnan(value) for value in found.values()), found
    valid = np.arange(9) != 7  # the row that is not finite takes no part
    found, whole = retrieval(*broken, valid, tile=tile), retrieval(*z, valid, tile=tile)
    assert found == whole


def test_weight_zero_rows_do_not_enter_retrieval():
    z = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)
    valid = np.arange(9) < 6
    whole, part = retrieval(z[0], z[1], valid), retrieval(z[0, :6], z[1, :6])
    for name in whole:
        np.testing.assert_allclose(whole[name], part[name], rtol=1e-6)


def test_cosines_are_true_cosines():
    first = jnp.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    second = jnp.array([[5.0, 0.0], [0.0, -1.0], [9.0, 9.0]])
    valid, subject = jnp.array([True, True, False]), jnp.array([0, 1, 2])
    np.testing.assert_allclose(metrics.intra_cosine(first, second, valid), 0, atol=1e-6)
    assert metrics.inter_cosine(first, 2 * first, subject, valid) == 0


@pytest.mark.parametrize("subjects", [1, 2, 7, 40])
def test_inter_cosine_equals_the_mean_over_every_pair(subjects):
    rng = np.random.default_rng(subjects)
    z = rng.normal(0.3, 1, size=(2, 40, 6)).astype(np.float32)
    z[0, 3] = 0
    subject = 1000 * rng.integers(-subjects, 0, 40).astype(np.int32)
    valid = rng.random(40) < 0.8
    cosine = np.asarray(losses.cosine(z[0][:, None], z[1][None]))
    counted = (subject[:, None] != subject) & valid[:, None] & valid
    expected = cosine[counted].mean() if counted.any() else 0
    found = jax.jit(metrics.inter_cosine)(*z, subject, valid)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_two_series_of_one_subject_are_not_compared_as_strangers():
    z = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    valid = jnp.ones(3, bool)
    assert metrics.inter_cosine(z, z, jnp.array([4, 4, 7]), valid) == 0
    np.testing.assert_allclose(metrics.inter_cosine(z, z, jnp.array([4, 5, 7]), valid), 1 / 3)
    assert metrics.inter_cosine(z, z, jnp.array([4, 4, 4]), valid) == 0
