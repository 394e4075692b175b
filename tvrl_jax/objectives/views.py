"""The encoder over the views of a batch."""

import jax
import jax.numpy as jnp

from tvrl_jax.models.build import Network


def keys(key: jax.Array | None, count: int) -> list:
    """`count` independent keys, or as many times None."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def counted(batch: dict) -> jax.Array:
    """Which rows count, bool [B]."""
    return batch["weight_B"] > 0


def frame_features(network: Network, params, extra, batch: dict, key):
    """E_S of every frame -> (feature_BVTD, extra), in training mode.

    One call a view, as published: BatchNorm normalises each view by its own statistics, and its
    running ones move once per view, in order. Rows that do not count have no say in them.
    """
    seen_BVT = batch["valid_BVT"] & counted(batch)[:, None, None]
    features = []
    for v, key_v in enumerate(keys(key, seen_BVT.shape[1])):
        arrays = (clip_of(batch, v), seen_BVT[:, v], packed(batch, v))
        feature_BTD, extra = network.spatial(params, extra, *arrays, train=True, key=key_v)
        features.append(feature_BTD)
    return jnp.stack(features, axis=1), extra


def clip_of(batch: dict, view: int):
    """The frames of a view, or what they are drawn from; views may share one window."""
    return jax.tree.map(lambda x: x[:, min(view, x.shape[1] - 1)], batch["clip_BVTHWC"])


def packed(batch: dict, view: int) -> jax.Array | None:
    """Where the real frames of a view are, when the batch says; views may share one window."""
    if "packed_GVC" not in batch:
        return None
    packed_GVC = batch["packed_GVC"]
    return packed_GVC[:, min(view, packed_GVC.shape[1] - 1)]


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
