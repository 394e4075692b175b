"""Rotation, crop and flips as one affine map, and the resampling that applies it.

Coordinates are (row, column) in frame units: the frame is the square [-1, 1] x [-1, 1], so a map
means the same at every resolution. A map takes a point of the output frame to the source frame:
source = matrix @ output + centre.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

MINIFIED = 1.5  # source pixels between two bilinear samples, beyond which detail would alias


def affine_map(
    u_6: jax.Array, *, rotation: float, crop: tuple[float, float], hflip: float, vflip: float
) -> tuple[jax.Array, jax.Array]:
    """Rotate about the centre, crop a square out of the result, flip -> matrix_22, centre_2.

    From six numbers uniform in [0, 1): the angle is uniform in -+ `rotation` degrees, the crop's
    share of the area uniform in `crop`, its place uniform inside the frame, the flips have the
    stated probabilities.
    """
    angle = rotation * (math.pi / 180) * (2 * u_6[0] - 1)
    side = jnp.sqrt(crop[0] + (crop[1] - crop[0]) * u_6[1])
    place_2 = (1 - side) * (2 * u_6[2:4] - 1)
    flip_2 = u_6[4:6] < jnp.array([vflip, hflip])
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turn_22 = jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
    # Elementwise, not matmul: accelerators multiply float32 matrices at reduced precision.
    matrix_22 = turn_22 * (side * jnp.where(flip_2, -1.0, 1.0))
    return matrix_22, jnp.sum(turn_22 * place_2, axis=1)


def count_taps(source: int, size: int) -> int:
    """Bilinear samples per output pixel and axis, when `source` pixels become `size`."""
    return max(1, math.ceil(source / size / MINIFIED - 1e-6))


def resample(
    clip_THWC: jax.Array, matrix_22: jax.Array, centre_2: jax.Array, *, size: int, taps: int
) -> jax.Array:
    """Frames seen through an affine map -> clip_TSSC float32. Outside the frame is 0.

    Each output pixel is the mean of taps x taps bilinear samples, spread evenly over its footprint
    in the source: with enough of them (`count_taps`) every source pixel counts and nothing aliases.
    Frames are square. Half a pixel at the frame's edge continues the outermost pixels.
    """
    side = _side(clip_THWC)
    clip_TCHW = jnp.moveaxis(clip_THWC.astype(jnp.float32), -1, 1)
    row, column = _source_of(matrix_22, centre_2, size * taps)
    inside = (jnp.abs(row) <= 1) & (jnp.abs(column) <= 1)
    pixel = [jnp.clip((place + 1) * (side / 2) - 0.5, 0, side - 1) for place in (row, column)]
    of_plane = jax.vmap(jax.vmap(lambda image_HW: map_coordinates(image_HW, pixel, order=1)))
    fine = of_plane(clip_TCHW) * inside
    pooled = fine.reshape(*fine.shape[:2], size, taps, size, taps).mean(axis=(3, 5))
    return jnp.moveaxis(pooled, 1, -1)


def _side(image_HWC: jax.Array) -> int:
    """Of the frames [..., H, W, C], which are square."""
    height, width, _ = image_HWC.shape[-3:]
    if height != width:
        raise ValueError(f"Frames must be square, not {(height, width)}.")
    return height


def _source_of(matrix_22, centre_2, size: int) -> tuple[jax.Array, jax.Array]:
    """Source row and column of every output pixel, [size, size] each, in frame units."""
    grid = (2 * jnp.arange(size) + 1) / size - 1
    row, column = jnp.meshgrid(grid, grid, indexing="ij")
    return tuple(
        matrix_22[axis, 0] * row + matrix_22[axis, 1] * column + centre_2[axis] for axis in (0, 1)
    )


@partial(jax.jit, static_argnames="size")
def resize(clip_uint8: jax.Array, size: int) -> jax.Array:
    """The evaluation transform: [..., T, H, W, C] uint8 -> [..., T, size, size, C] in [0, 1]."""
    lead, side, channels = clip_uint8.shape[:-3], _side(clip_uint8), clip_uint8.shape[-1]
    unit = clip_uint8.astype(jnp.float32) / 255
    if side == size:
        return unit
    taps = count_taps(side, size)
    flat_NHWC = unit.reshape(-1, *clip_uint8.shape[-3:])
    out = resample(flat_NHWC, jnp.eye(2), jnp.zeros(2), size=size, taps=taps)
    return out.reshape(*lead, size, size, channels)
