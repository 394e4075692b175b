"""Brightness, contrast and blur, each drawn once for all frames of a clip."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Intensity(NamedTuple):
    """One draw. brightness 1, contrast 1 and neighbour 0 leave a clip as it is."""

    brightness: jax.Array  # factor
    contrast: jax.Array  # factor of the distance from the clip's mean
    neighbour: jax.Array  # weight of either neighbour in the blur; the centre has the rest


def draw_intensity(
    key,
    *,
    brightness: float,
    contrast: float,
    jitter_probability: float,
    blur_sigma: tuple[float, float],
    blur_probability: float,
) -> Intensity:
    """Factors uniform in 1 -+ the strength (never below 0), both or neither applied; then blur."""
    of_brightness, of_contrast, of_jitter, of_sigma, of_blur = jax.random.split(key, 5)
    jitter = jax.random.uniform(of_jitter) < jitter_probability
    blur = jax.random.uniform(of_blur) < blur_probability
    low, high = blur_sigma
    sigma = low + (high - low) * jax.random.uniform(of_sigma)
    return Intensity(
        jnp.where(jitter, _factor(of_brightness, brightness), 1.0),
        jnp.where(jitter, _factor(of_contrast, contrast), 1.0),
        jnp.where(blur, neighbour_weight(sigma), 0.0),
    )


def _factor(key, strength: float) -> jax.Array:
    low, high = max(0.0, 1 - strength), 1 + strength
    return low + (high - low) * jax.random.uniform(key)


def neighbour_weight(sigma: jax.Array) -> jax.Array:
    """Of the 3-tap Gaussian with this standard deviation in pixels; sigma 0 gives 0."""
    edge = jnp.exp(-0.5 / jnp.square(sigma))
    return edge / (1 + 2 * edge)


def apply_intensity(draw: Intensity, clip_THWC: jax.Array, valid_T: jax.Array) -> jax.Array:
    """Brightness, contrast about the mean of the valid frames, blur, then cut to [0, 1].

    Padded frames come out 0 and have no part in the mean.
    """
    valid_T111 = valid_T[:, None, None, None]
    bright = clip_THWC * draw.brightness
    pixels = jnp.maximum(jnp.sum(valid_T), 1) * clip_THWC[0].size
    mean = jnp.sum(jnp.where(valid_T111, bright, 0)) / pixels
    contrasted = mean + (bright - mean) * draw.contrast
    smooth = blur_axis(blur_axis(contrasted, draw.neighbour, axis=1), draw.neighbour, axis=2)
    return jnp.where(valid_T111, jnp.clip(smooth, 0, 1), 0)


def blur_axis(clip_THWC: jax.Array, neighbour: jax.Array, *, axis: int) -> jax.Array:
    """Three taps along an axis; beyond the edge the frame is mirrored about its last pixel."""
    pad = [(1, 1) if a == axis else (0, 0) for a in range(clip_THWC.ndim)]
    wide = jnp.pad(clip_THWC, pad, mode="reflect")
    length = clip_THWC.shape[axis]
    before, after = (jax.lax.slice_in_dim(wide, at, at + length, axis=axis) for at in (0, 2))
    return clip_THWC + neighbour * (before + after - 2 * clip_THWC)
