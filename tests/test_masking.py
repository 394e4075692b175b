import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tvrl_jax import masking
from tvrl_jax.errors import UserError

KEY = jax.random.key(0)


def test_a_frame_is_masked_with_the_published_probability():
    valid = jnp.ones((20_000, 8), bool)
    mask = np.asarray(jax.jit(masking.frame_mask, static_argnames="ratio")(KEY, valid, ratio=0.15))
    assert abs(mask.mean() - 0.15) < 0.005  # six standard errors
    assert abs((~mask.any(1)).mean() - 0.85**8) < 0.02  # draws of frames are independent


def test_padding_is_never_masked():
    valid = jnp.arange(8)[None] < jnp.arange(9)[:, None]
    assert not (masking.frame_mask(KEY, valid, ratio=1.0) & ~valid).any()
    assert (masking.frame_mask(KEY, valid, ratio=1.0) == valid).all()


def test_short_clips_may_get_no_mask_and_may_lose_everything():
    valid = jnp.arange(8)[None] < jnp.full((4000, 1), 2)
    count = np.asarray(masking.frame_mask(KEY, valid, ratio=0.15)).sum(1)
    assert {0, 1, 2} == set(count)


def test_keys_decide():
    valid = jnp.ones((64, 8), bool)
    one, two = (masking.frame_mask(jax.random.key(k), valid, ratio=0.15) for k in (1, 2))
    assert (one == masking.frame_mask(jax.random.key(1), valid, ratio=0.15)).all()
    assert (one != two).any()


@pytest.mark.parametrize(
    ("tokens", "kept"), [(32, 3), (40, 4), (16, 2), (256, 26), (10, 1), (5, 1)]
)
def test_ninety_percent_are_removed(tokens, kept):
    assert masking.kept_count(tokens, 0.9) == kept


def test_random_masking_is_uniform_over_tokens():
    noise, count, kept = masking.token_noise(
        KEY, jnp.ones((8000, 20), bool), frames=4, ratio=0.9, kind="random"
    )
    assert (count == kept).all()
    chosen = np.asarray(jnp.argsort(noise, axis=1)[:, :kept])
    share = np.bincount(chosen.ravel(), minlength=20) / chosen.size
    assert kept == 2
    np.testing.assert_allclose(share, 1 / 20, atol=0.01)


def test_tubes_keep_the_same_positions_in_every_frame():
    noise, count, kept = masking.token_noise(
        KEY, jnp.ones((16, 4 * 20), bool), frames=4, ratio=0.9, kind="tube"
    )
    assert (count == kept).all()
    chosen = np.sort(np.asarray(jnp.argsort(noise, axis=1)[:, :kept]), axis=1).reshape(16, 4, 2)
    assert kept == 8
    np.testing.assert_array_equal(chosen, chosen[:, :1] + 20 * np.arange(4)[None, :, None])


@pytest.mark.parametrize("kind", ["random", "tube"])
def test_padding_is_removed_first(kind):
    valid = jnp.repeat(jnp.array([[True, True, False, False]]), 20, axis=1)
    noise, _, kept = masking.token_noise(KEY, valid, frames=4, ratio=0.9, kind=kind)
    assert jnp.take_along_axis(valid, jnp.argsort(noise, axis=1)[:, :kept], axis=1).all()


@pytest.mark.parametrize("kind", ["random", "tube"])
def test_nine_tenths_are_removed_of_what_is_real(kind):
    valid = jnp.repeat(jnp.arange(8)[None] < jnp.arange(1, 9)[:, None], 20, axis=1)
    _, count, kept = masking.token_noise(KEY, valid, frames=8, ratio=0.9, kind=kind)
    assert count.tolist() == [2, 4, 6, 8, 10, 12, 14, 16] and kept == 16


def test_another_kind_of_masking_is_refused():
    with pytest.raises(UserError, match=r"objective\.masking"):
        masking.token_noise(KEY, jnp.ones((1, 4), bool), frames=2, ratio=0.9, kind="tubes")
