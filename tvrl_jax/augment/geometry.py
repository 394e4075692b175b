"""Rotation, crop and flips as one affine map, and the resampling that applies it.

Coordinates are (row, column) in frame units: the frame is the square [-1, 1] x [-1, 1], so a map
means the same at every resolution. A map takes a point of the output frame to the source frame:
source = matrix @ output + centre.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

MINIFIED = 1.5  # source pixels between two bilinear samples, beyond which detail would alias


def draw_affine(
    key, *, rotation: float, crop: tuple[float, float], hflip: float, vflip: float
) -> tuple[jax.Array, jax.Array]:
    """Rotate about the centre, crop a square out of the result, flip -> matrix_22, centre_2.

    The angle is uniform in -+ `rotation` degrees, the crop's share of the area uniform in `crop`,
    its place uniform inside the frame, the flips have the stated probabilities.
    """
    of_angle, of_area, of_place, of_flip = jax.random.split(key, 4)
    angle = math.radians(rotation) * jax.random.uniform(of_angle, minval=-1.0)
    low, high = crop
    side = jnp.sqrt(low + (high - low) * jax.random.uniform(of_area))
    place_2 = (1 - side) * jax.random.uniform(of_place, (2,), minval=-1.0)
    flip_2 = jax.random.uniform(of_flip, (2,)) < jnp.array([vflip, hflip])
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
    side = clip_THWC.shape[1]
    if clip_THWC.shape[2] != side:
        raise ValueError(f"Frames must be square, not {clip_THWC.shape[1:3]}.")
    clip_TCHW = jnp.moveaxis(clip_THWC.astype(jnp.float32), -1, 1)

    def sample(row_SS, column_SS):
        inside_SS = (jnp.abs(row_SS) <= 1) & (jnp.abs(column_SS) <= 1)
        pixel = [
            jnp.clip((place + 1) * (side / 2) - 0.5, 0, side - 1) for place in (row_SS, column_SS)
        ]
        plane = jax.vmap(jax.vmap(lambda image_HW: map_coordinates(image_HW, pixel, order=1)))
        return plane(clip_TCHW) * inside_SS

    total = sum(sample(*point) for point in _sample_points(matrix_22, centre_2, size, taps))
    return jnp.moveaxis(total / taps**2, 1, -1)


def _sample_points(matrix_22, centre_2, size: int, taps: int):
    """For each tap the source (row, column) of every output pixel, [S, S] each, in frame units."""
    grid = (2 * jnp.arange(size * taps) + 1) / (size * taps) - 1
    for row_S in grid.reshape(size, taps).T:
        for column_S in grid.reshape(size, taps).T:
            row_SS, column_SS = jnp.meshgrid(row_S, column_S, indexing="ij")
            yield tuple(
                matrix_22[axis, 0] * row_SS + matrix_22[axis, 1] * column_SS + centre_2[axis]
                for axis in (0, 1)
            )


def resize(clip_uint8: jax.Array, size: int) -> jax.Array:
    """The evaluation transform: [..., T, H, W, C] uint8 -> [..., T, size, size, C] in [0, 1]."""
    lead, (side, _, channels) = clip_uint8.shape[:-3], clip_uint8.shape[-3:]
    unit = clip_uint8.astype(jnp.float32) / 255
    if side == size:
        return unit
    taps = count_taps(side, size)
    flat_NHWC = unit.reshape(-1, *clip_uint8.shape[-3:])
    out = resample(flat_NHWC, jnp.eye(2), jnp.zeros(2), size=size, taps=taps)
    return out.reshape(*lead, size, size, channels)
