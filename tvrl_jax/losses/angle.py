"""Cosines, of vectors of any length including zero."""

import jax
import jax.numpy as jnp

from tvrl_jax.losses.mean import wide

COSINE_EPS = 1e-8  # shortest length that is divided by, as in the recorded reference


def _clamped_norm(x: jax.Array) -> jax.Array:
    """Length of the last axis (kept), at least 1e-8; the derivative is that of the bare length."""
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    # sqrt has no derivative at 0, so a vector of zeros takes the constant branch twice over.
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return norm + jax.lax.stop_gradient(jnp.maximum(norm, COSINE_EPS) - norm)


def unit(x: jax.Array) -> jax.Array:
    """Vectors of the last axis scaled to length 1; those shorter than 1e-8 are divided by 1e-8."""
    x = wide(x)
    return x / _clamped_norm(x)


def cosine(x: jax.Array, y: jax.Array) -> jax.Array:
    """Cosine similarity along the last axis, [...]."""
    return jnp.sum(unit(x) * unit(y), axis=-1)


def negative_cosine(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """-cos along the last axis, [...]."""
    return -cosine(prediction, target)


def matmul(x: jax.Array, y: jax.Array) -> jax.Array:
    """Product in full float32: a temperature of 0.1 multiplies bfloat16's error by ten."""
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)
