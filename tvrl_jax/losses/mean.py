"""Sums in float32 or better, and the one mean that leaves out what does not count."""

import jax
import jax.numpy as jnp


def wide(x: jax.Array) -> jax.Array:
    """At least float32, for sums over many terms."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def masked_mean(value: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of the values where the mask (bool or 0/1, same shape) is set; 0 where it never is.

    The divisor is floored at one element: an empty mask gives a zero loss and a zero gradient.
    """
    value, mask = wide(value), mask != 0
    return jnp.sum(jnp.where(mask, value, 0)) / jnp.maximum(jnp.sum(mask), 1).astype(value.dtype)
