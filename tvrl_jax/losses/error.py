"""Errors of predictions and of classifications, one value per example."""

import jax
import jax.numpy as jnp

from tvrl_jax.losses.mean import wide


def smooth_l1(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Huber's loss with its corner at 1, mean over the last axis, [...]."""
    gap = jnp.abs(wide(prediction) - wide(target))
    return jnp.mean(jnp.where(gap < 1, 0.5 * gap**2, gap - 0.5), axis=-1)


def standardise(x: jax.Array, *, eps: float) -> jax.Array:
    """Zero mean and unit variance along the last axis: layer normalisation without parameters."""
    x = wide(x)
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + eps)


def patch_error(prediction_BNP: jax.Array, target_BNP: jax.Array, counted_BNP: jax.Array):
    """Mean squared error of each patch over its values that count, [B, N]; 0 without any."""
    gap_BNP = jnp.where(counted_BNP, wide(prediction_BNP) - wide(target_BNP), 0)
    return (gap_BNP**2).sum(-1) / jnp.maximum(counted_BNP.sum(-1), 1)


def squared_error(prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared error per element and whether its target is known (not NaN); 0 where it is not."""
    known = ~jnp.isnan(target)
    # The target is replaced BEFORE the arithmetic: a NaN behind a `where` still spoils gradients.
    gap = wide(prediction) - jnp.where(known, target, 0)
    return jnp.where(known, gap**2, 0), known


def cross_entropy(logit_BK: jax.Array, target_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy [B] of class codes 0..K-1 and whether the code is known (not NaN)."""
    known_B = ~jnp.isnan(target_B)
    code_B = jnp.where(known_B, target_B, 0).astype(jnp.int32)
    log_p_BK = jax.nn.log_softmax(wide(logit_BK), axis=-1)
    loss_B = -jnp.take_along_axis(log_p_BK, code_B[:, None], axis=1)[:, 0]
    return jnp.where(known_B, loss_B, 0), known_B
