"""InfoNCE, and its form with several positives per row."""

import functools

import jax
import jax.numpy as jnp

from tvrl_jax.losses import matrix, tiles
from tvrl_jax.losses.angle import unit
from tvrl_jax.losses.rows import Bar, Contrast, Rows
from tvrl_jax.losses.sweep import Spread, alone

TIE = 8.0  # cosines closer than so many units of rounding are equal


def info_nce(
    first_BE: jax.Array,
    second_BE: jax.Array,
    valid_B: jax.Array,
    *,
    temperature: float,
    tile: int = 0,
    spread: Spread = alone,
) -> Contrast:
    """`contrast_views` of two views apart, in the order (first, second): shapes [2B]."""
    embedding_BVE = jnp.stack([first_BE, second_BE], axis=1)
    each = contrast_views(embedding_BVE, valid_B, temperature=temperature, tile=tile, spread=spread)
    return jax.tree.map(lambda x_BV: x_BV.T.reshape(-1), each)


def contrast_views(
    embedding_BVE: jax.Array,
    valid_B: jax.Array,
    *,
    temperature: float,
    tile: int = 0,
    spread: Spread = alone,
) -> Contrast:
    """InfoNCE over the 2B embeddings of two views of B series: shapes [B, V], V = 2.

    SimCLR's form (Chen et al. 2020, arXiv 2002.05709, eq. 1) of van den Oord et al. 2018 (arXiv
    1807.03748): cosine similarity, the other view of a series is the positive, the query itself is
    left out. Rows that are not valid take part neither as queries (their loss is 0: leave them out
    of the mean) nor as keys. `tile` and `spread` as in `sup_con`. ValueError for other than two
    views, which `sup_con` takes.
    """
    views = embedding_BVE.shape[1]
    if views != 2:
        raise ValueError(f"InfoNCE is of 2 views, not of {views}; sup_con takes any number.")
    series_B = jnp.arange(len(valid_B))
    return _contrast(embedding_BVE, series_B, valid_B, temperature, tile, spread, pairs=True)


def sup_con(
    embedding_BVE: jax.Array,
    group_B: jax.Array,
    valid_B: jax.Array,
    *,
    temperature: float,
    tile: int = 0,
    spread: Spread = alone,
) -> Contrast:
    """Contrast with all rows of one group, such as a patient's images, as positives: [B, V] each.

    Khosla et al. 2020 (arXiv 2004.11362, L_sup_out): minus the mean log-probability over a query's
    positives, which are all views of all rows of its group but itself; all but itself are in the
    denominator. Take the mean over the queries that have positives.

    Args:
      embedding_BVE: V views of each row, of any length: cosines are compared.
      group_B: integers.
      valid_B: rows that are not take part neither as queries nor as keys.
      temperature: cosines are divided by it.
      tile: with more than so many embeddings, logits are computed `tile` x `tile` at a time and
        anew for the gradient, so that memory grows as B and not as B^2; 0 = never.
      spread: how tiles are shared among devices. Without tiles the matrix is partitioned by jit.
    """
    return _contrast(embedding_BVE, group_B, valid_B, temperature, tile, spread, pairs=False)


def _contrast(embedding_BVE, group_B, valid_B, temperature, tile, spread, *, pairs) -> Contrast:
    batch, views, width = embedding_BVE.shape
    # A root of the temperature in each factor: its derivative, too, is that of the product.
    point_BVE = unit(embedding_BVE) / temperature**0.5
    # A row's views stay neighbours, so that a batch spread over devices need not move for this.
    rows = Rows(
        point_BVE.reshape(-1, width),
        *(jnp.repeat(x_B, views) for x_B in (valid_B, group_B)),
        jnp.arange(batch * views, dtype=jnp.int32),
    )
    bar_of = functools.partial(_bar, slack=TIE * jnp.finfo(point_BVE.dtype).eps / temperature)
    if tile and batch * views > tile:
        nearest_N = _partner_logit(point_BVE).reshape(-1) if pairs else None
        each = tiles.compare(rows, bar_of, nearest_N, tile=tile, spread=spread)
    else:
        each = matrix.compare(rows, bar_of)
    return jax.tree.map(lambda x_N: x_N.reshape(batch, views), each)


def _partner_logit(point_B2E: jax.Array) -> jax.Array:
    logit_B1 = jnp.sum(point_B2E[:, :1] * point_B2E[:, 1:], axis=-1)
    return jnp.broadcast_to(logit_B1, point_B2E.shape[:2])


def _bar(logit_N: jax.Array, *, slack) -> Bar:
    logit_N = jax.lax.stop_gradient(logit_N)
    return Bar(logit_N - slack, logit_N + slack)
