"""Causal latent prediction: contrast as in TVRL, and each frame predicts the next one's feature."""

import jax

from tvrl_jax.models.build import Network
from tvrl_jax.objectives import contrastive, latent, views
from tvrl_jax.objectives.outcome import Outcome


def loss(
    network: Network,
    params,
    extra,
    batch,
    key,
    progress,
    *,
    temperature: float,
    latent_weight: float,
    start_fraction: float,
    distance: str,
    target_norm: str,
    tile: int = 0,
) -> Outcome:
    """(1 - w) InfoNCE on CLS + w (distance to the next frame's feature); w as in TVRL."""
    key_s, key_t, key_c = views.keys(key, 3)
    feature_BVTD, extra = views.frame_features(network, params, extra, batch, key_s)
    x_BVTD = views.embed_time(network, params, feature_BVTD, batch["time_BVT"])
    cls_BVD, _ = views.temporal(network, params, x_BVTD, batch["valid_BVT"], key_t)
    contrast = contrastive.compare(
        network, params, extra, cls_BVD, batch, temperature=temperature, tile=tile
    )
    target_BVTD = latent.target_of(feature_BVTD, batch, target_norm=target_norm)
    term = latent.error(
        predict_next(network, params, x_BVTD, batch["valid_BVT"], key_c)[:, :, :-1],
        target_BVTD[:, :, 1:],
        pairs(batch),
        distance=distance,
    )
    weight = latent.weight_at(progress, start_fraction=start_fraction, latent_weight=latent_weight)
    return latent.combine(contrast, term, weight)


def predict_next(network: Network, params, x_BVTD, valid_BVT, key) -> jax.Array:
    """Row t, which sees frames 0..t only, predicts the feature of frame t + 1: [B, V, T, D]."""
    _, token_BVTD = views.temporal(network, params, x_BVTD, valid_BVT, key, causal=True)
    return network.predict(params, token_BVTD)


def pairs(batch: dict) -> jax.Array:
    """Which (t, t + 1) count: both frames valid, in a row that counts. [B, V, T - 1]."""
    valid_BVT = batch["valid_BVT"] & views.counted(batch)[:, None, None]
    return valid_BVT[:, :, :-1] & valid_BVT[:, :, 1:]
