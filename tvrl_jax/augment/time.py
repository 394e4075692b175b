"""Noise on a view's times, so that the clock alone cannot tell which series it is."""

import jax
import jax.numpy as jnp


def view_times(
    u_2: jax.Array,
    u_T: jax.Array | None,
    normal_T: jax.Array,
    time_T: jax.Array,
    valid_T: jax.Array,
    *,
    time_origin: str,
    interval_scale: float,
    **strength: float,
) -> jax.Array:
    """A view's times from its window's: intervals scaled, counted from the origin, then moved.

    `u_T` are uniform in [0, 1) and not needed without `interval_scale`; the rest is that of
    `move_times`.
    """
    if u_T is not None:
        time_T = scale_intervals(u_T, time_T, valid_T, interval_scale=interval_scale)
    counted_T = count_from(time_T, valid_T, time_origin=time_origin)
    return move_times(u_2, normal_T, counted_T, valid_T, **strength)


def scale_intervals(
    u_T: jax.Array, time_T: jax.Array, valid_T: jax.Array, *, interval_scale: float
) -> jax.Array:
    """Each interval between neighbouring frames that are there x uniform in 1 -+ `interval_scale`.

    The first of them keeps its time. On average the pace stays; what names a series, the pattern
    of its intervals, does not. Times in order stay in order.
    """
    first = jnp.min(jnp.where(valid_T, time_T, jnp.inf))
    held_T = jax.lax.cummax(jnp.where(valid_T, time_T, first))  # a frame that is not there adds 0
    factor_T = 1 + interval_scale * (2 * u_T - 1)
    moved_T = first + jnp.cumsum(jnp.diff(held_T, prepend=first) * factor_T)
    return jnp.where(valid_T, moved_T, 0)


def count_from(time_T: jax.Array, valid_T: jax.Array, *, time_origin: str) -> jax.Array:
    """Times since the newest frame, all 0 or less ("newest"), or as they are ("window").

    Of one clip [T], or of many [..., T].
    """
    if time_origin == "window":
        return time_T
    newest = jnp.max(jnp.where(valid_T, time_T, -jnp.inf), axis=-1, keepdims=True)
    return jnp.where(valid_T, time_T - newest, 0)


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
