"""A contrastive comparison by its whole matrix of logits: the plain form, for small batches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tvrl_jax.losses.rows import (
    NEVER,
    Bar,
    Contrast,
    Rows,
    count,
    meet,
    nearest_positive,
    rivals,
)


def compare(rows: Rows, bar_of: Callable[[jax.Array], Bar]) -> Contrast:
    """Every row against all others: the equation as it stands, [N] each.

    `bar_of` widens the nearest positive's logit [N] to what counts as equal.
    """
    met = meet(rows, rows)
    positives_N = count(met.positive_QK)
    total_N = jax.nn.logsumexp(jnp.where(met.offered_QK, met.logit_QK, NEVER), axis=1)
    wanted_N = jnp.sum(jnp.where(met.positive_QK, met.logit_QK, 0), axis=1)
    loss_N = jnp.where(positives_N > 0, total_N - wanted_N / jnp.maximum(positives_N, 1), 0)
    closer_N, tied_N = rivals(met, bar_of(nearest_positive(met)))
    return Contrast(loss_N, closer_N, tied_N, positives_N)
