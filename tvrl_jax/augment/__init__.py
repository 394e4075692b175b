"""Augmentation on the device: one draw per series and view, the same for all frames of the clip.

Rotation, random resized crop and flips are composed into ONE resampling; then brightness, contrast
and a 3 x 3 Gaussian blur; the view's times are counted anew, scaled, shifted and jittered. All
functions are pure and meant to be compiled as part of the training step. `benchmarks/augment.py`
measures them.

Ways to resample were compared on 2 CPU cores, for 128 clips of 8 frames from 48 to 32 pixels: a
bilinear gather with coordinates (this one, 5 ms); the same by hand over rows of pixels (12 ms); two
separable passes of matrix products (150 ms, and it blurs); a one-hot matrix (450 ms).
"""

import math
from functools import partial
from typing import NamedTuple

import jax

from tvrl_jax.augment.geometry import affine_map, count_taps, resample, resize
from tvrl_jax.augment.intensity import apply_intensity, draw_intensity
from tvrl_jax.augment.time import view_times
from tvrl_jax.errors import UserError

__all__ = ["Source", "apply", "augment", "draw", "resize"]


class Source(NamedTuple):
    """What augmented views are made from; every row stands alone. W: 1 window, or one a view."""

    clip_BWTHWC: jax.Array  # uint8
    time_BWT: jax.Array
    valid_BWT: jax.Array
    u_BVN: jax.Array  # random numbers: 13 uniform ones,
    normal_BVT: jax.Array  # a normal one for each frame,
    u_BVT: jax.Array | None  # and a uniform one where intervals are scaled


def augment(
    key, clip_BVTHWC: jax.Array, time_BVT: jax.Array, valid_BVT: jax.Array, *, views: int, **how
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """uint8 windows -> augmented views: clip [B, views, T, size, size, C] in [0, 1], time, valid.

    A single window (V = 1) is the source of every view. The draw of a row and view depends on
    the key and the row's place in the global batch, not on how many devices share the work.
    `how`: the size, pixels, and the strengths and probabilities of config.augment (see `apply`);
    all 0 and crop (1, 1) is `resize`.

    Raises UserError when the batch has neither one window nor as many as `views`.
    """
    scale = how["interval_scale"]
    source = draw(key, clip_BVTHWC, time_BVT, valid_BVT, views=views, interval_scale=scale)
    return apply(source, **how)


def draw(key, clip_BWTHWC, time_BWT, valid_BWT, *, views: int, interval_scale: float) -> Source:
    """All that is random of `augment`, for `apply` to use.

    Raises UserError when the batch has neither one window nor as many as `views`.
    """
    windows = clip_BWTHWC.shape[1]
    if windows not in (1, views):
        raise UserError(f"clips.windows = {windows}, but the objective compares {views} view(s).")
    shape = (len(clip_BWTHWC), views, time_BWT.shape[2])
    numbers = (*random_numbers(key, *shape), interval_numbers(key, shape, interval_scale))
    return Source(clip_BWTHWC, time_BWT, valid_BWT, *numbers)


def apply(
    source: Source,
    *,
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
    time_origin: str,
    interval_scale: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The views of any rows of a source: clip [B, V, T, size, size, C] in [0, 1], time, valid."""
    view = partial(
        _view,
        map_of=partial(affine_map, rotation=rotation, crop=crop, hflip=hflip, vflip=vflip),
        light_of=partial(
            draw_intensity,
            brightness=brightness,
            contrast=contrast,
            jitter_probability=jitter_probability,
            blur_sigma=blur_sigma,
            blur_probability=blur_probability,
        ),
        times_of=partial(
            view_times,
            time_origin=time_origin,
            interval_scale=interval_scale,
            time_shift=time_shift,
            time_scale=time_scale,
            time_jitter=time_jitter,
        ),
        size=size,
        taps=count_taps(source.clip_BWTHWC.shape[3] * math.sqrt(crop[1]), size),
    )
    windows, numbers = source[:3], source[3:]
    shared, windows = (
        (None, [a[:, 0] for a in windows]) if windows[0].shape[1] == 1 else (0, windows)
    )
    per_view = jax.vmap(view, in_axes=(0, 0, 0, shared, shared, shared))
    return jax.vmap(per_view)(*numbers, *windows)


def _view(
    u_13, normal_T, u_T, clip_THWC, time_T, valid_T, *, map_of, light_of, times_of, size, taps
):
    """One view of one window, from its random numbers."""
    moved = resample(clip_THWC, *map_of(u_13[:6]), size=size, taps=taps) / 255
    lit = apply_intensity(light_of(u_13[6:11]), moved, valid_T)
    return lit, times_of(u_13[11:], u_T, normal_T, time_T, valid_T), valid_T


def random_numbers(key, batch: int, views: int, frames: int) -> tuple[jax.Array, jax.Array]:
    """All that is random: 13 uniform numbers for each row and view, a normal one for each frame.

    In two calls, since the compiler takes a second or two for each. The generator hashes an
    element's place in the array, so a row keeps its numbers however the batch is sharded and
    however many rows follow.
    """
    of_uniform, of_normal = jax.random.split(key)
    u_BVN = jax.random.uniform(of_uniform, (batch, views, 13))
    return u_BVN, jax.random.normal(of_normal, (batch, views, frames))


def interval_numbers(key, shape: tuple[int, int, int], interval_scale: float) -> jax.Array | None:
    """A uniform number for each frame of a view, where intervals are scaled."""
    return jax.random.uniform(jax.random.fold_in(key, 2), shape) if interval_scale else None
