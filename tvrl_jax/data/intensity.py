"""Any pixels -> square uint8 frames: scaled first, then resized, rounded once at the end.

Clipping before resizing keeps a single hot pixel from bleeding into its neighbours, and resizing
in float32 avoids rounding twice. The resize weighs all pixels under the new one (Pillow's triangle
filter, widened when shrinking), so that nothing aliases.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image as Picture

from tvrl_jax.errors import UserError, nearest

FITS = ("pad", "crop", "stretch")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Placement(NamedTuple):
    box: tuple[float, float, float, float]  # of the source: left, top, right, bottom
    height: int  # of the box's picture in the square, centred
    width: int


def check_settings(
    *, image_size: int, channels: int, pixel_mm: float, fit: str, percentiles: Sequence[float]
) -> None:
    low, high = (*map(float, percentiles), math.nan, math.nan)[:2]
    if len(percentiles) != 2 or not 0 <= low < high <= 100:
        raise UserError(
            f"data.percentiles is {tuple(percentiles)}: it takes two rising numbers in 0..100."
        )
    if image_size < 1:
        raise UserError(f"data.image_size is {image_size}: it must be at least 1 pixel.")
    if channels not in (1, 3):
        raise UserError(f"data.channels is {channels}: it takes 1 (grey) or 3 (RGB).")
    if not (math.isfinite(pixel_mm) and pixel_mm >= 0):
        raise UserError(f"data.pixel_mm is {pixel_mm}: it takes a length, or 0 to keep pixels.")
    if fit not in FITS:
        raise UserError(f'data.fit is "{fit}".{nearest(fit, FITS)}')
    if fit == "stretch" and pixel_mm:
        raise UserError("data.fit=stretch changes the pixel size that data.pixel_mm sets.")


def with_channels(frame_THWC: np.ndarray, channels: int) -> np.ndarray:
    """Colour to grey (integers stay integers), grey to three equal channels, else unchanged."""
    if frame_THWC.shape[-1] == channels:
        return frame_THWC
    if channels == 3:
        return np.broadcast_to(frame_THWC, (*frame_THWC.shape[:-1], 3))
    grey_THWC = np.empty((*frame_THWC.shape[:-1], 1), frame_THWC.dtype)
    for frame_HWC, grey_HWC in zip(frame_THWC, grey_THWC, strict=True):
        value_HW = frame_HWC.astype(np.float32) @ LUMA
        grey_HWC[..., 0] = np.rint(value_HW) if grey_HWC.dtype.kind in "iu" else value_HW
    return grey_THWC


def limits(parts: Sequence[np.ndarray], percentiles: Sequence[float]) -> tuple[float, float]:
    """The values that become 0 and 255: percentiles of all pixels of all arrays, of which each
    pixel counts once, so that a larger frame weighs more. Where they coincide (an image that is
    almost all background) the whole range counts; a constant image has equal limits."""
    pixels = parts[0] if len(parts) == 1 else np.concatenate([part.ravel() for part in parts])
    low, high = (float(x) for x in np.percentile(_roomy(pixels), percentiles))
    if low == high:
        low, high = float(pixels.min()), float(pixels.max())
    return low, high


def _roomy(pixels: np.ndarray) -> np.ndarray:
    """A wider type where the range of integers with a sign exceeds their own: np.percentile takes
    the difference of two neighbours in it."""
    if pixels.dtype.kind != "i":
        return pixels
    if int(pixels.max()) - int(pixels.min()) <= np.iinfo(pixels.dtype).max:
        return pixels
    return pixels.astype(np.result_type(pixels.dtype, f"u{pixels.dtype.itemsize}"))


def scaled(frame_HWC: np.ndarray, low: float, high: float) -> np.ndarray:
    """Float32 0..255; zeros where the limits are equal. Float64 inside, one frame at a time, so
    that 32-bit integers and large floats keep their differences."""
    if low == high:
        return np.zeros(frame_HWC.shape, np.float32)
    clipped = np.clip(frame_HWC.astype(np.float64), low, high)
    return ((clipped - low) * (255 / (high - low))).astype(np.float32)


def place(
    height: int,
    width: int,
    spacing_mm: tuple[float, float] | None,
    *,
    image_size: int,
    pixel_mm: float,
    fit: str,
) -> Placement:
    """Which part of a frame goes where in the square.

    With a pixel size (wanted and known) the frame is resampled to it; `crop` cuts what then
    exceeds the square and `pad` refuses it. Otherwise `pad` shrinks or grows the frame until its
    longer side fits, `crop` its shorter side, and `stretch` both sides.
    """
    if pixel_mm and spacing_mm is not None:
        size_mm = (height * spacing_mm[0], width * spacing_mm[1])
        full = [max(1, round(mm / pixel_mm)) for mm in size_mm]
        if fit == "pad" and max(full) > image_size:
            raise UserError(
                f"at {pixel_mm:g} mm a pixel its frames are {full[0]} x {full[1]} and do not fit "
                f'into {image_size} x {image_size}: use data.fit="crop" or a larger pixel_mm.'
            )
        kept = [min(n, image_size) for n in full]
        part = (height * kept[0] / full[0], width * kept[1] / full[1])
        return Placement(_centred(height, width, *part), *kept)
    if fit == "stretch":
        return Placement((0, 0, width, height), image_size, image_size)
    if fit == "crop":
        side = min(height, width)
        return Placement(_centred(height, width, side, side), image_size, image_size)
    scale = image_size / max(height, width)
    kept = [max(1, round(n * scale)) for n in (height, width)]
    return Placement((0, 0, width, height), *kept)


def _centred(height: int, width: int, part_height: float, part_width: float):
    top, left = (height - part_height) / 2, (width - part_width) / 2
    return (left, top, left + part_width, top + part_height)


def resized(frame_HWC: np.ndarray, placement: Placement, image_size: int) -> np.ndarray:
    """Float32 [H,W,C] -> [image_size, image_size, C], zeros around the placed picture."""
    box, height, width = placement
    if (height, width) != frame_HWC.shape[:2] or box != (0, 0, width, height):
        planes = [
            Picture.fromarray(np.ascontiguousarray(frame_HWC[..., c])).resize(
                (width, height), Picture.Resampling.BILINEAR, box=box
            )
            for c in range(frame_HWC.shape[-1])
        ]
        frame_HWC = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    square = np.zeros((image_size, image_size, frame_HWC.shape[-1]), np.float32)
    top, left = (image_size - height) // 2, (image_size - width) // 2
    square[top : top + height, left : left + width] = frame_HWC
    return square


def to_uint8(
    parts: Sequence[np.ndarray],
    spacings: Sequence[tuple[float, float] | None],
    *,
    image_size: int,
    channels: int,
    pixel_mm: float,
    fit: str,
    percentiles: Sequence[float],
) -> np.ndarray:
    """The frames of one series -> uint8 [T, image_size, image_size, channels].

    `parts` are the frames [T,H,W,C] of each of its files, whose sizes may differ, and `spacings`
    their pixel sizes in mm or None: every frame is placed by its own. The percentiles are of all
    the series' pixels, before any padding."""
    parts = [with_channels(frame_THWC, channels) for frame_THWC in parts]
    low, high = limits(parts, percentiles)
    frames = [
        (frame_HWC, spacing_mm)
        for frame_THWC, spacing_mm in zip(parts, spacings, strict=True)
        for frame_HWC in frame_THWC
    ]
    stored = np.empty((len(frames), image_size, image_size, channels), np.uint8)
    for (frame_HWC, spacing_mm), out_HWC in zip(frames, stored, strict=True):
        size = frame_HWC.shape[:2]
        placement = place(*size, spacing_mm, image_size=image_size, pixel_mm=pixel_mm, fit=fit)
        square = resized(scaled(frame_HWC, low, high), placement, image_size)
        out_HWC[:] = np.clip(np.rint(square), 0, 255)
    return stored
