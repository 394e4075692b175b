"""Mean and variance of channels: of a batch, pooled from its parts, and those that are kept."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

RATE = 0.1  # how far BatchNorm's running statistics move to a batch's


class Moments(NamedTuple):
    """Of the last axis over all others; a leading axis more where there are several."""

    count: jax.Array  # how many values
    mean: jax.Array  # [C]
    var: jax.Array  # [C], biased


def of(x: jax.Array, counted_N: jax.Array | None) -> Moments:
    """Over the rows of the leading axis that are counted, or over all; by two passes."""
    axes = tuple(range(x.ndim - 1))
    if counted_N is None:
        count = jnp.asarray(x.size // x.shape[-1], x.dtype)
        return Moments(count, jnp.mean(x, axes), jnp.var(x, axes))
    weight = counted_N.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
    count = weight.sum() * (x[0].size // x.shape[-1])
    floor = jnp.maximum(count, 1)
    mean = (x * weight).sum(axes) / floor
    return Moments(count, mean, (jnp.square(x - mean) * weight).sum(axes) / floor)


def pooled(each: Moments) -> Moments:
    """Those of all parts together (Chan et al. 1983), from those of each along the leading axis.

    Squares are of distances from a part's own mean, so that nothing cancels.
    """
    share = each.count[:, None]
    count = each.count.sum()
    floor = jnp.maximum(count, 1)
    mean = (share * each.mean).sum(0) / floor
    within_and_between = each.var + jnp.square(each.mean - mean)
    return Moments(count, mean, (share * within_and_between).sum(0) / floor)


def moved(kept_mean, kept_var, batch: Moments) -> tuple[jax.Array, jax.Array]:
    """Running statistics RATE of the way nearer to a batch's, the variance unbiased (Bessel)."""
    rate = RATE * (batch.count > 0)  # a batch of nothing but padding teaches nothing
    unbiased = batch.var * (batch.count / jnp.maximum(batch.count - 1, 1))
    return tuple(
        kept + (rate * (new - kept)).astype(kept.dtype)
        for kept, new in ((kept_mean, batch.mean), (kept_var, unbiased))
    )


def moved_in_turn(kept, moved_V):
    """Running statistics moved by one batch after another, from those that each moved from `kept`.

    Every leaf of moved_V has a leading axis for the batches, none of which may be empty.
    """

    def leaf(start, each):
        now = each[0]
        for other in each[1:]:
            now = other + (1 - RATE) * (now - start)
        return now

    return jax.tree.map(leaf, kept, moved_V)
