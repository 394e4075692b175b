"""A pretrained encoder in a program of one's own: one series in memory -> its features.

    from tvrl_jax import inference

    encoder = inference.load("runs/x")
    found = inference.encode(encoder, frames, times)  # [T, H, W], times in the run's unit
    found.cls_D

Features of a whole table, and of its files: `probe.py --config=configs/probe_export.py`. Of the
same images and times they are the same.
"""

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tvrl_jax import settings
from tvrl_jax.checkpoint import restore_for_reading
from tvrl_jax.data import intensity
from tvrl_jax.data.clips import SAMPLINGS
from tvrl_jax.data.readers.image import lengths, make_image
from tvrl_jax.data.times import series_times
from tvrl_jax.errors import UserError, nearest
from tvrl_jax.probing import features, pretrained
from tvrl_jax.probing.features import Encoder

AT_ONCE = 64  # frames, and windows; fewer are filled up to a power of two
SETTLE = dict(batches=128, batch_size=128)  # as config.features of a probe says
PACKING = ("image_size", "channels", "pixel_mm", "fit", "percentiles")  # of config.data


class Encoded(NamedTuple):
    """Features of one series of T frames, float32, D wide."""

    cls_D: np.ndarray  # the temporal CLS, mean over the windows
    token_D: np.ndarray  # the mean frame token, mean over the windows
    frame_TD: np.ndarray  # of each frame seen alone; no rows for a joint encoder (VideoMAE)
    token_TD: np.ndarray  # of each frame among its neighbours, mean over the windows that hold it
    held_T: np.ndarray  # bool: some window holds the frame; else its token is 0


def load(checkpoint: str | Path, *, step: str | int = "newest") -> Encoder:
    """The frozen encoder of a run folder.

    step: "newest", "best", or a number of its checkpoints. Of a run with train.ema it is the
    averaged encoder; its BatchNorm statistics, if it has any, are settled on images of the run's
    train split, so that the cohort must still be there.

    Raises:
      UserError: there is no such checkpoint, or it is damaged; its cohort is needed and has gone.
    """
    folder = Path(checkpoint).expanduser()
    restored = restore_for_reading(folder, pretrained.GROUPS, str(step))
    config = settings.stored(restored.meta["config"])
    encoder = pretrained.encoder(restored, config)
    if pretrained.is_averaged(restored):
        encoder = pretrained.settled_at_home(encoder, **SETTLE)
    return encoder


def encode(
    encoder: Encoder,
    frames,
    times: Sequence[float] | None = None,
    *,
    spacing_mm: tuple[float, float] | None = None,
    stride: int = 0,
    sampling: str = "",
    every: int = 1,
) -> Encoded:
    """The features of one series, whose pixels are scaled and placed as in pretraining.

    Args:
      frames: [T, H, W] or [T, H, W, C] with C of 1 or 3, real numbers of any scale.
      times: of each frame, in config.data.time_unit of the run, not falling; None where the run
        had config.data.frame_interval, or counts frames.
      spacing_mm: size of a pixel (row, column), where config.data.pixel_mm resamples by it.
      stride, sampling, every: windows of the series, as config.features of a probe; 0 and "" are
        as in pretraining.

    Raises:
      UserError: frames, times or windows are not such; all times are equal and the encoder reads
        them.
    """
    choice = _Windows(stride, sampling, every)
    _check_windows(choice)
    series = _Series(frames, times, spacing_mm, encoder)
    found = features.extract(
        encoder,
        series,
        [0],
        features.window_settings(encoder.config, choice),
        batch_size=min(AT_ONCE, 1 << (len(series.frame_THWC) - 1).bit_length()),
    )
    return Encoded(found.cls_ND[0], found.token_ND[0], *found[2:])


class _Windows(NamedTuple):
    """The keys of config.features that `features.window_settings` reads."""

    stride: int
    sampling: str
    every: int


def _check_windows(choice: _Windows) -> None:
    """Raises UserError for what config.features of a probe may not be either."""
    if choice.sampling not in ("", *SAMPLINGS):
        hint = nearest(str(choice.sampling), SAMPLINGS)
        raise UserError(f'sampling is "{choice.sampling}".{hint}')
    for name, least in (("stride", 0), ("every", 1)):
        value = getattr(choice, name)
        if not isinstance(value, Integral) or value < least:
            raise UserError(f"{name} is {value!r}: it must be a whole number, {least} or more.")


class _Info(NamedTuple):
    frames: int
    time_T: np.ndarray


def _numbers(times, unit: str) -> np.ndarray:
    """Float64 [T]. Raises UserError for what are no numbers, such as dates."""
    try:
        given = np.asarray(times)
        if given.dtype.kind in "mM":  # NumPy counts dates in units of its own
            raise TypeError
        return given.astype(np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise UserError(f"times must be numbers, in {unit} as in pretraining, not dates.") from None


def _lengths(spacing_mm) -> tuple[float, float] | None:
    """Raises UserError for what are no lengths, which in a file count as not stated."""
    try:
        found = lengths(spacing_mm)
    except (TypeError, ValueError):
        found = None
    if found is None and spacing_mm is not None:
        raise UserError(
            f"spacing_mm is {spacing_mm!r}: give the size of a pixel as (row, column), two numbers "
            "of mm above 0 and below 10000."
        )
    return found


class _Series:
    """One series in the place of a store."""

    def __init__(self, frames, times, spacing_mm, encoder: Encoder):
        config = encoder.config
        given_T = None if times is None else _numbers(times, encoder.config.data.time_unit)
        image = make_image("frames", _with_channel(frames), spacing_mm=_lengths(spacing_mm))
        count = len(image.frame_THWC)
        clock = {key: config.data[key] for key in ("time_unit", "frame_interval")}
        if given_T is None and count > 1 and not any(_has_clock(**clock)):
            raise UserError(
                f"times is None and there are {count} frames: give each its time in "
                f"{clock['time_unit']}, as in pretraining."
            )
        time_T = series_times(given_T, None, count, **clock)
        needs_times = pretrained.needs_times(encoder, config.data)
        if needs_times and count > 1 and time_T[0] == time_T[-1]:
            raise UserError(
                f"times are all {time_T[0]:g} and this encoder reads them: give each frame its own."
            )
        packing = {key: config.data[key] for key in PACKING}
        self.frame_THWC = intensity.to_uint8([image.frame_THWC], [image.spacing_mm], **packing)
        self.series, self.subject_index = (_Info(count, time_T),), np.zeros(1, np.int32)
        self.image_size, self.channels = config.data.image_size, config.data.channels

    def frames(self, i: int, index_L) -> np.ndarray:
        return self.frame_THWC[index_L]


def _with_channel(frames) -> np.ndarray:
    try:
        frames = np.asarray(frames)
    except ValueError:
        raise UserError("frames are of unequal sizes: bring them to one, [T, H, W].") from None
    if frames.ndim == 3:
        frames = frames[..., None]
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3):
        raise UserError(
            f"frames has the shape {np.shape(frames)}: [T, H, W], or [T, H, W, C] with 1 or 3 "
            "channels, is right."
        )
    return frames


def _has_clock(*, time_unit: str, frame_interval: float) -> tuple[bool, bool]:
    return time_unit == "frames", frame_interval > 0
