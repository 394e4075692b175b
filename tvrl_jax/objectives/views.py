"""The encoder over the views of a batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tvrl_jax import sharding
from tvrl_jax.models.build import Network
from tvrl_jax.models.moments import moved_in_turn


def keys(key: jax.Array | None, count: int) -> list:
    """`count` independent keys, or as many times None."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def counted(batch: dict) -> jax.Array:
    """Which rows count, bool [B]."""
    return batch["weight_B"] > 0


def frame_features(network: Network, params, extra, batch: dict, key):
    """E_S of every frame -> (feature_BVTD, extra), in training mode.

    Rows that do not count have no say in BatchNorm's statistics.
    """
    seen_BVT = batch["valid_BVT"] & counted(batch)[:, None, None]

    def of_view(extra, rows, key):
        return network.spatial(params, extra, *rows, train=True, key=key)

    return each(of_view, extra, spatial_rows(batch, seen_BVT), key)


def spatial_rows(batch: dict, seen_BVT) -> tuple:
    """What E_S is given besides its parameters, each with axes [B, V, ...] (`packed_GVC`: [G, V,
    ...]; None = not packed). Views may share one window: V is then 1."""
    return batch["clip_BVTHWC"], seen_BVT, batch.get("packed_GVC")


def each(function: Callable, extra, rows, key=None):
    """function(extra, rows of a view, key of the view) -> (out, extra), over all views.

    -> (out [B, V, ...], extra). BatchNorm normalises each view by its own statistics, and its
    running ones move once per view, in order. On several devices the views are computed side by
    side, so that the gradients of what they share cross the devices once; on one, one after
    another, which is 1.07 (32 pixels) to 1.2 times (64) as fast on a CPU.

    Args:
      rows: a pytree whose leaves have the views as their second axis, or a single one for all.
    """
    views = max(leaf.shape[1] for leaf in jax.tree.leaves(rows))
    key_V = keys(key, views)
    if views > 1 and sharding.is_spread():
        return _side_by_side(function, extra, rows, key_V)
    outs = []
    for v in range(views):
        out, extra = function(extra, of(v, rows), key_V[v])
        outs.append(out)
    return jnp.stack(outs, axis=1), extra


def of(v: int, rows):
    """The arrays of one view; those with a single one serve every view."""
    return jax.tree.map(lambda x: x[:, v % x.shape[1]], rows)


def _side_by_side(function, extra, rows, key_V):
    axes = jax.tree.map(lambda x: None if x.shape[1] == 1 else 1, rows)
    rows = jax.tree.map(lambda x: x[:, 0] if x.shape[1] == 1 else x, rows)
    key_V = None if key_V[0] is None else jnp.stack(key_V)
    in_axes = (None, axes, None if key_V is None else 0)
    out, extra_V = jax.vmap(function, in_axes, (1, 0))(extra, rows, key_V)
    return out, moved_in_turn(extra, extra_V)


def embed_time(network: Network, params, feature_BVTD, time_BVT) -> jax.Array:
    """Features plus positions and, when on, the time embedding: [B, V, T, D]."""
    x_NTD = network.embed_time(params, _rows(feature_BVTD, 2), _rows(time_BVT, 2))
    return x_NTD.reshape(feature_BVTD.shape)


def temporal(network: Network, params, x, seen, key, *, causal=False):
    """E_T over any leading axes: x [..., T, D] and its keys [..., T] -> (cls [..., D], token).

    Nothing in it mixes rows, so that all leading axes become one batch. cls is None when causal.
    """
    axes = seen.ndim - 1
    cls_ND, token_NTD = network.temporal(
        params, _rows(x, axes), _rows(seen, axes), causal=causal, train=True, key=key
    )
    token = token_NTD.reshape(x.shape)
    return (None if causal else cls_ND.reshape(*x.shape[:-2], -1)), token


def _rows(x: jax.Array, axes: int) -> jax.Array:
    """The first `axes` axes merged into one."""
    return x.reshape(-1, *x.shape[axes:])
