"""Noise on a view's times, so that the clock alone cannot tell which series it is."""

import jax
import jax.numpy as jnp


def augment_time(
    key,
    time_T: jax.Array,
    valid_T: jax.Array,
    *,
    time_shift: float,
    time_scale: float,
    time_jitter: float,
) -> jax.Array:
    """time x scale + shift + jitter, in the unit of `time_T`; never rounded, padding stays 0.

    Scale and shift are one draw for all frames, uniform in 1 -+ `time_scale` and -+ `time_shift`;
    the jitter is normal with standard deviation `time_jitter`, another for each frame.
    """
    of_shift, of_scale, of_jitter = jax.random.split(key, 3)
    shift = time_shift * jax.random.uniform(of_shift, minval=-1.0)
    scale = 1 + time_scale * jax.random.uniform(of_scale, minval=-1.0)
    jitter_T = time_jitter * jax.random.normal(of_jitter, time_T.shape)
    return jnp.where(valid_T, time_T * scale + shift + jitter_T, 0)
