"""Augmentation on the device: one draw per series and view, the same for all frames of the clip.

Rotation, random resized crop and flips are composed into ONE resampling; then brightness, contrast
and a 3 x 3 Gaussian blur; the view's times are shifted, scaled and jittered. All functions are pure
and meant to be compiled as part of the training step. `benchmarks/augment.py` measures them.

Ways to resample were compared on 2 CPU cores, for 128 clips of 8 frames from 48 to 32 pixels: a
bilinear gather with coordinates (this one, 5 ms); the same by hand over rows of pixels (12 ms); two
separable passes of matrix products (150 ms, and it blurs); a one-hot matrix (450 ms).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from tvrl_jax.augment.geometry import count_taps, draw_affine, resample, resize
from tvrl_jax.augment.intensity import apply_intensity, draw_intensity
from tvrl_jax.augment.time import augment_time
from tvrl_jax.errors import UserError

__all__ = ["augment", "resize"]


def augment(
    key,
    clip_BVTHWC: jax.Array,
    time_BVT: jax.Array,
    valid_BVT: jax.Array,
    *,
    views: int,
    size: int,
    rotation: float,
    crop: tuple[float, float],
    hflip: float,
    vflip: float,
    brightness: float,
    contrast: float,
    jitter_probability: float,
    blur_sigma: tuple[float, float],
    blur_probability: float,
    time_shift: float,
    time_scale: float,
    time_jitter: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """uint8 windows -> augmented views: clip [B, views, T, size, size, C] in [0, 1], time, valid.

    A single window (V = 1) is the source of every view. The draw of a row and view is keyed by the
    row's place in the global batch, so it does not depend on how many devices share the work.
    Strengths and probabilities are those of config.augment; all 0 and crop (1, 1) is `resize`.

    Raises UserError when the batch has neither one window nor as many as `views`.
    """
    batch, windows = clip_BVTHWC.shape[:2]
    if windows not in (1, views):
        raise UserError(f"clips.windows = {windows}, but the objective compares {views} view(s).")
    draw_map = partial(draw_affine, rotation=rotation, crop=crop, hflip=hflip, vflip=vflip)
    draw_light = partial(
        draw_intensity,
        brightness=brightness,
        contrast=contrast,
        jitter_probability=jitter_probability,
        blur_sigma=blur_sigma,
        blur_probability=blur_probability,
    )
    move_time = partial(
        augment_time, time_shift=time_shift, time_scale=time_scale, time_jitter=time_jitter
    )
    taps = count_taps(clip_BVTHWC.shape[3] * math.sqrt(crop[1]), size)

    def view(key, clip_THWC, time_T, valid_T):
        of_map, of_light, of_time = jax.random.split(key, 3)
        moved = resample(clip_THWC, *draw_map(of_map), size=size, taps=taps) / 255
        light = apply_intensity(draw_light(of_light), moved, valid_T)
        return light, move_time(of_time, time_T, valid_T), valid_T

    shared = None if windows == 1 else 0
    source = (a[:, 0] if windows == 1 else a for a in (clip_BVTHWC, time_BVT, valid_BVT))
    of_view = jax.vmap(view, in_axes=(0, shared, shared, shared))
    return jax.vmap(of_view)(_keys(key, batch, views), *source)


def _keys(key, rows: int, views: int) -> jax.Array:
    """One key per row of the global batch and view, [rows, views]."""
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    of_row = fold(key, jnp.arange(rows))
    return jax.vmap(fold, in_axes=(0, None))(of_row, jnp.arange(views))
