"""What every reader returns."""

from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError


class Image(NamedTuple):
    """The frames of one slice position of one file."""

    frame_THWC: np.ndarray  # integers or float32, as in the file; C is 1 or 3
    time_T: np.ndarray | None  # float64 seconds, None where the file states no times
    spacing_mm: tuple[float, float] | None  # (row, column)
    slice: int | None  # None where the file has no slices
    note: str  # what the reader had to decide, "" = nothing


def make_image(path, frame_THWC, time_T=None, spacing_mm=None, slice=None, note="") -> Image:
    """Checks what all formats have in common: frames, finite numbers, sensible times."""
    frame_THWC = np.asarray(frame_THWC)
    if 0 in frame_THWC.shape:
        raise UserError(f"{path} holds no frames (its shape is {frame_THWC.shape}): remove it.")
    frame_THWC = _native(path, frame_THWC)
    if frame_THWC.dtype.kind == "f" and not np.isfinite(frame_THWC).all():
        bad = np.argwhere(~np.isfinite(frame_THWC))[0].tolist()
        raise UserError(
            f"{path} has a pixel that is not finite (frame, row, column, channel {bad}): replace "
            "its NaN and infinite values first."
        )
    if time_T is not None:
        time_T = np.asarray(time_T, np.float64).reshape(-1)
        if len(time_T) != len(frame_THWC) or not np.isfinite(time_T).all():
            raise UserError(
                f"{path} states {len(time_T)} times for {len(frame_THWC)} frames: one finite "
                "time for each frame is needed."
            )
    return Image(frame_THWC, time_T, lengths(spacing_mm), slice, note)


def _native(path: str, pixels: np.ndarray) -> np.ndarray:
    """Own byte order; bool as 0 and 1; floats as float32; anything else than numbers is refused."""
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8)
    if pixels.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return pixels.astype(np.float32, copy=False)
    if pixels.dtype.kind not in "iu":
        raise UserError(f"{path} holds values of type {pixels.dtype}: pixels must be real numbers.")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def lengths(spacing_mm) -> tuple[float, float] | None:
    """None for spacings that are no lengths: some writers put 0."""
    if spacing_mm is None:
        return None
    row, column = (float(x) for x in spacing_mm)
    return (row, column) if 0 < row < 1e4 and 0 < column < 1e4 else None


def choose_slices(path: str, images: list[Image], slice: int | None) -> list[Image]:
    """All, or the one with this number; a file without slices has only slice 0."""
    if slice is None:
        return images
    chosen = [image for image in images if (image.slice or 0) == slice]
    if not chosen:
        raise UserError(f"{path} has {len(images)} slices and no slice {slice}: count from 0.")
    return [chosen[0]._replace(slice=slice)]
