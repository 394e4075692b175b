"""Noise on a view's times, so that the clock alone cannot tell which series it is."""

import jax
import jax.numpy as jnp


def move_times(
    u_2: jax.Array,
    normal_T: jax.Array,
    time_T: jax.Array,
    valid_T: jax.Array,
    *,
    time_shift: float,
    time_scale: float,
    time_jitter: float,
) -> jax.Array:
    """time x scale + shift + jitter, in the unit of `time_T`; never rounded, padding stays 0.

    From two numbers uniform in [0, 1), the shift in -+ `time_shift` and the scale in 1 -+
    `time_scale` of all frames; from a standard normal number per frame its jitter, of standard
    deviation `time_jitter`.
    """
    shift, scale = 2 * u_2 - 1
    jitter_T = time_jitter * normal_T
    moved_T = time_T * (1 + time_scale * scale) + time_shift * shift + jitter_T
    return jnp.where(valid_T, moved_T, 0)


def drop_frames(u_T: jax.Array, valid_T: jax.Array, *, time_drop: float) -> jax.Array:
    """Which frames are left when each but the newest goes with probability `time_drop`.

    From a number uniform in [0, 1) per frame. Padding stands at the right.
    """
    newest_T = valid_T & ~jnp.append(valid_T[1:], False)
    return valid_T & (newest_T | (u_T >= time_drop))
