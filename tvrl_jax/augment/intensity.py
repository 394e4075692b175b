"""Brightness, contrast and blur, each drawn once for all frames of a clip."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Intensity(NamedTuple):
    """One draw. brightness 1, contrast 1 and neighbour 0 leave a clip as it is."""

    brightness: jax.Array  # factor
    contrast: jax.Array  # factor of the distance from the clip's mean
    neighbour: jax.Array  # weight of either neighbour in the blur; the centre has the rest


def draw_intensity(
    u_5: jax.Array,
    *,
    brightness: float,
    contrast: float,
    jitter_probability: float,
    blur_sigma: tuple[float, float],
    blur_probability: float,
) -> Intensity:
    """From five numbers uniform in [0, 1): factors uniform in 1 -+ the strength (never below 0),
    both or neither applied; a blur of uniform sigma."""
    jitter, blurred = u_5[0] < jitter_probability, u_5[1] < blur_probability
    sigma = blur_sigma[0] + (blur_sigma[1] - blur_sigma[0]) * u_5[2]
    return Intensity(
        jnp.where(jitter, _factor(u_5[3], brightness), 1.0),
        jnp.where(jitter, _factor(u_5[4], contrast), 1.0),
        jnp.where(blurred, neighbour_weight(sigma), 0.0),
    )


def _factor(u: jax.Array, strength: float) -> jax.Array:
    low, high = jnp.maximum(0.0, 1 - strength), 1 + strength
    return low + (high - low) * u


def neighbour_weight(sigma: jax.Array) -> jax.Array:
    """Of the 3-tap Gaussian with this standard deviation in pixels; sigma 0 gives 0."""
    edge = jnp.exp(-0.5 / jnp.square(sigma))
    return edge / (1 + 2 * edge)


def apply_intensity(draw: Intensity, clip_THWC: jax.Array, valid_T: jax.Array) -> jax.Array:
    """Brightness, contrast about the mean of the valid frames, blur, then cut to [0, 1].

    Padded frames come out 0 and have no part in the mean.
    """
    # The blur keeps the mean and comes before the linear maps it commutes with, so that the
    # resampling has this one matrix product as its only reader: XLA repeats it for each other one.
    bright = draw.brightness * blur(clip_THWC, draw.neighbour)
    valid_T111 = valid_T[:, None, None, None]
    pixels = jnp.maximum(jnp.sum(valid_T), 1) * clip_THWC[0].size
    mean = jnp.sum(jnp.where(valid_T111, bright, 0)) / pixels
    contrasted = mean + draw.contrast * (bright - mean)
    return jnp.where(valid_T111, jnp.clip(contrasted, 0, 1), 0)


def blur(clip_THWC: jax.Array, neighbour: jax.Array) -> jax.Array:
    """Three taps along rows and columns. At the edge a pixel is its own missing neighbour."""
    kernel_HH, kernel_WW = (blur_matrix(neighbour, side) for side in clip_THWC.shape[1:3])
    # HIGHEST: accelerators multiply float32 at 8 to 11 bits unless told otherwise.
    return jnp.einsum(
        "ih,thwc,jw->tijc", kernel_HH, clip_THWC, kernel_WW, precision=jax.lax.Precision.HIGHEST
    )


def blur_matrix(neighbour: jax.Array, side: int) -> jax.Array:
    """Symmetric, rows and columns sum to 1: neither a flat image nor any image's mean changes."""
    beside = np.eye(side, k=1, dtype=np.float32) + np.eye(side, k=-1, dtype=np.float32)
    return np.eye(side, dtype=np.float32) + neighbour * (beside - np.diag(beside.sum(axis=1)))
