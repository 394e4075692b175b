"""A contrastive comparison that never holds its matrix of logits.

For queries i, keys j, logits s_ij = x_i . x_j and positives P_i,

    loss_i = log sum_j exp(s_ij) - mean_(p in P_i) s_ip.

Forward, both terms are sums over keys and are taken tile by tile, the first relative to the
largest logit so far. Backward, tiles are computed anew. With dL / dloss_i = w_i and
l_i = log sum_j exp(s_ij), row x_i is a query and, for every other row, a key; s and P are
symmetric, so that both parts of its gradient are one more such sum over its own keys:

    dL / dx_i = sum_j [w_i exp(s_ij - l_i) + w_j exp(s_ij - l_j)
                       - (j in P_i) (w_i / |P_i| + w_j / |P_j|)] x_j.

So nothing but rows travels, w and l with them, and no gradient has to be sent back.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tvrl_jax.losses.angle import matmul
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
from tvrl_jax.losses.sweep import Spread, sweep


def compare(
    rows: Rows, bar_of: Callable[[jax.Array], Bar], nearest_N, *, tile: int, spread: Spread
) -> Contrast:
    """`matrix.compare` in memory for `tile` x `tile` logits.

    nearest_N: each row's nearest positive's logit where that is known; None costs a sweep more.
    """
    if nearest_N is None:
        nearest_N = spread(functools.partial(_nearest, tile=tile), _still(rows))
    return _contrast(rows.point_NE, rows[1:], bar_of(nearest_N), tile, spread)


def _still(rows: Rows) -> Rows:
    return jax.lax.stop_gradient(rows)


def _nearest(rows: Rows, *, tile: int, axis: str | None) -> jax.Array:
    start_N = jnp.full_like(rows.point_NE[:, 0], NEVER)

    def fold(best_Q, query: Rows, key: Rows):
        return jnp.maximum(best_Q, nearest_positive(meet(query, key)))

    return sweep(fold, start_N, rows, rows, tile=tile, axis=axis)


class _Tally(NamedTuple):
    """Of the keys met so far, leading axis N."""

    top: jax.Array  # largest logit
    total: jax.Array  # sum of exp(logit - top)
    wanted: jax.Array  # sum of the positives' logits
    positives: jax.Array
    closer: jax.Array
    tied: jax.Array


def _count(rows: Rows, bar: Bar, *, tile: int, axis: str | None) -> _Tally:
    zero_N, none_N = jnp.zeros_like(rows.point_NE[:, 0]), jnp.zeros_like(rows.number_N)
    start = _Tally(zero_N + NEVER, zero_N, zero_N, none_N, none_N, none_N)
    return sweep(_count_tile, start, (rows, bar), rows, tile=tile, axis=axis)


def _count_tile(tally: _Tally, own: tuple[Rows, Bar], key: Rows) -> _Tally:
    query, bar = own
    met = meet(query, key)
    top_Q = jnp.maximum(
        tally.top, jnp.max(met.logit_QK, axis=1, initial=NEVER, where=met.offered_QK)
    )
    scaled_QK = jnp.where(met.offered_QK, jnp.exp(met.logit_QK - top_Q[:, None]), 0)
    closer_Q, tied_Q = rivals(met, bar)
    return _Tally(
        top=top_Q,
        total=tally.total * jnp.exp(tally.top - top_Q) + jnp.sum(scaled_QK, axis=1),
        wanted=tally.wanted + jnp.sum(jnp.where(met.positive_QK, met.logit_QK, 0), axis=1),
        positives=tally.positives + count(met.positive_QK),
        closer=tally.closer + closer_Q,
        tied=tally.tied + tied_Q,
    )


class _Pull(NamedTuple):
    """What the gradient needs of a row, leading axis N."""

    rows: Rows
    log_total: jax.Array
    weight: jax.Array  # dL / dloss
    share: jax.Array  # weight / number of positives


def _pull(pull: _Pull, *, tile: int, axis: str | None) -> jax.Array:
    start_NE = jnp.zeros_like(pull.rows.point_NE)
    return sweep(_pull_tile, start_NE, pull, pull, tile=tile, axis=axis)


def _pull_tile(gradient_QE: jax.Array, query: _Pull, key: _Pull) -> jax.Array:
    met = meet(query.rows, key.rows)
    as_query_QK = query.weight[:, None] * jnp.exp(met.logit_QK - query.log_total[:, None])
    as_key_QK = key.weight[None, :] * jnp.exp(met.logit_QK - key.log_total[None, :])
    share_QK = jnp.where(met.positive_QK, query.share[:, None] + key.share[None, :], 0)
    force_QK = jnp.where(met.offered_QK, as_query_QK + as_key_QK - share_QK, 0)
    return gradient_QE + matmul(force_QK, key.rows.point_NE)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _contrast(point_NE, about, bar: Bar, tile: int, spread: Spread) -> Contrast:
    return _forward(point_NE, about, bar, tile, spread)[0]


def _forward(point_NE, about, bar: Bar, tile: int, spread: Spread):
    tally = spread(functools.partial(_count, tile=tile), Rows(point_NE, *about), bar)
    counted_N = tally.positives > 0
    # Where there is no key, `total` is 0; the row does not count then.
    log_total_N = tally.top + jnp.log(jnp.where(counted_N, tally.total, 1))
    mean_N = tally.wanted / jnp.maximum(tally.positives, 1)
    loss_N = jnp.where(counted_N, log_total_N - mean_N, 0)
    found = Contrast(loss_N, tally.closer, tally.tied, tally.positives)
    return found, (point_NE, about, log_total_N, tally.positives)


def _backward(tile: int, spread: Spread, kept, cotangent: Contrast):
    point_NE, about, log_total_N, positives_N = kept
    weight_N = jnp.where(positives_N > 0, cotangent.loss, 0)
    share_N = weight_N / jnp.maximum(positives_N, 1)
    pull = _Pull(Rows(point_NE, *about), log_total_N, weight_N, share_N)
    return spread(functools.partial(_pull, tile=tile), pull), None, None


_contrast.defvjp(_forward, _backward)
