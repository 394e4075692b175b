"""Prediction of frame features: what TVRL and the causal rule share."""

import jax
import jax.numpy as jnp

from tvrl_jax.errors import UserError, nearest
from tvrl_jax.losses import masked_mean, negative_cosine, smooth_l1, standardise
from tvrl_jax.objectives.outcome import Outcome
from tvrl_jax.objectives.views import counted

NORMS = ("none", "layer", "batch", "clip")  # of the target
DISTANCES = {"cosine": negative_cosine, "smooth_l1": smooth_l1}


def weight_at(progress, *, start_fraction: float, latent_weight: float) -> jax.Array:
    """Weight of the latent term: 0 until `start_fraction` of the training is done.

    `progress` is the share of the training that is done at the middle of the step.
    """
    return jnp.where(progress < start_fraction, 0.0, latent_weight)


def target_of(feature_BVTD: jax.Array, batch: dict, *, target_norm: str) -> jax.Array:
    """What is to be predicted: the features of the frames themselves, without gradient.

    A step that keeps an averaged encoder may put its features into the batch, as
    `latent_target_BVTD`; they then take the place of the learning encoder's own. `target_norm`
    is one of NORMS.

    Raises UserError for another.
    """
    if target_norm not in NORMS:
        raise UserError(
            f'objective.target_norm = "{target_norm}" does not exist.{nearest(target_norm, NORMS)}'
        )
    target_BVTD = jax.lax.stop_gradient(batch.get("latent_target_BVTD", feature_BVTD))
    counted_BVT = told(batch, target_norm=target_norm)
    if target_norm == "layer":
        return standardise(target_BVTD, eps=1e-5)
    if target_norm == "clip":
        target_BVTD = _change(target_BVTD, counted_BVT)
    if target_norm in ("batch", "clip"):
        return _over_frames(target_BVTD, counted_BVT)
    return target_BVTD


def told(batch: dict, *, target_norm: str) -> jax.Array:
    """Frames that count and whose target says something, bool [B, V, T].

    With "clip" none of a clip of one frame, which is its own mean: what is left of it is rounding,
    and a cosine would take its direction for a target like any other.
    """
    counted_BVT = batch["valid_BVT"] & counted(batch)[:, None, None]
    if target_norm == "clip":
        counted_BVT &= counted_BVT.sum(2, keepdims=True) > 1
    return counted_BVT


def _change(target_BVTD, counted_BVT):
    """Each frame's feature less the mean over its clip's frames: what does not stay the same."""
    weight_BVT1 = counted_BVT[..., None].astype(target_BVTD.dtype)
    total_BV11 = jnp.maximum(weight_BVT1.sum(2, keepdims=True), 1)
    return target_BVTD - (weight_BVT1 * target_BVTD).sum(2, keepdims=True) / total_BV11


def _over_frames(target_BVTD, counted_BVT):
    """Each feature with mean 0 and variance 1 over the frames that count.

    A cosine is otherwise met by what all frames have in common: features of an encoder that has
    just begun to learn have cosines of 0.9 and more with each other.
    """
    weight_BVT1 = counted_BVT[..., None].astype(target_BVTD.dtype)
    total = jnp.maximum(weight_BVT1.sum(), 1)
    centred = target_BVTD - (weight_BVT1 * target_BVTD).sum((0, 1, 2)) / total
    variance_D = (weight_BVT1 * jnp.square(centred)).sum((0, 1, 2)) / total
    return centred * jax.lax.rsqrt(variance_D + 1e-5)


def error(prediction_BVTD, target_BVTD, counted_BVT, *, distance: str) -> jax.Array:
    """Mean over the views of the mean over a view's counted frames; 0 where none is counted.

    Raises UserError for a distance that is not one of DISTANCES.
    """
    if distance not in DISTANCES:
        raise UserError(
            f'objective.distance = "{distance}" does not exist.{nearest(distance, DISTANCES)}'
        )
    each_BVT = DISTANCES[distance](prediction_BVTD, target_BVTD)
    return jnp.mean(jax.vmap(masked_mean, in_axes=1)(each_BVT, counted_BVT))


def combine(contrast: Outcome, latent: jax.Array, weight: jax.Array) -> Outcome:
    """(1 - weight) x the contrastive loss + weight x the latent one."""
    total = (1 - weight) * contrast.loss + weight * latent
    return contrast._replace(
        loss=total, metrics={**contrast.metrics, "loss_latent": latent, "latent_weight": weight}
    )
