"""Rows that are compared with each other, and what a query of each sees of keys."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tvrl_jax.losses.angle import matmul

NEVER = -1e30  # a logit that takes no part; finite, so that no row can produce a NaN


class Contrast(NamedTuple):
    """What each query of a contrastive comparison yields; all of one shape."""

    loss: jax.Array  # 0 for a query that is not valid or has no positive
    closer: jax.Array  # other keys that are nearer to the query than its nearest positive
    tied: jax.Array  # other keys exactly as near, up to rounding
    positives: jax.Array  # keys that ought to be near


class Rows(NamedTuple):
    """All rows of the batch or some of them, leading axis N."""

    point_NE: jax.Array  # the dot product of two is their logit
    valid_N: jax.Array  # whether the row takes part, as query and as key
    group_N: jax.Array  # rows of one group are each other's positives
    number_N: jax.Array  # place in the whole batch: no row is compared with itself


class Bar(NamedTuple):
    """Logits between which a key is as near to a query as its nearest positive, leading axis N.

    Not one value: two products of equal vectors may differ in their last digits, and an embedding
    that has collapsed to a point must be seen as tied.
    """

    low_N: jax.Array
    high_N: jax.Array


class Meeting(NamedTuple):
    """Some rows as queries and some as keys, [Q, K]. Symmetric in the two."""

    logit_QK: jax.Array
    offered_QK: jax.Array  # both valid, and not one and the same row
    positive_QK: jax.Array  # and of one group


def meet(query: Rows, key: Rows) -> Meeting:
    offered_QK = query.valid_N[:, None] & key.valid_N[None, :]
    offered_QK &= query.number_N[:, None] != key.number_N[None, :]
    positive_QK = offered_QK & (query.group_N[:, None] == key.group_N[None, :])
    return Meeting(matmul(query.point_NE, key.point_NE.T), offered_QK, positive_QK)


def nearest_positive(met: Meeting) -> jax.Array:
    """Largest logit of a positive, [Q]; NEVER where there is none."""
    return jnp.max(met.logit_QK, axis=1, initial=NEVER, where=met.positive_QK)


def rivals(met: Meeting, bar: Bar) -> tuple[jax.Array, jax.Array]:
    """How many keys that are no positives lie above the bar, and how many at it, [Q] each."""
    rival_QK = met.offered_QK & ~met.positive_QK
    above_QK = met.logit_QK > bar.high_N[:, None]
    level_QK = ~above_QK & (met.logit_QK >= bar.low_N[:, None])
    return count(rival_QK & above_QK), count(rival_QK & level_QK)


def count(mask_QK: jax.Array) -> jax.Array:
    """How many are set in each row, int32 [Q]."""
    return jnp.sum(mask_QK, axis=1, dtype=jnp.int32)
