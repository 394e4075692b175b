"""PNG, JPEG, TIFF and the like; pages and animation frames are frames. 16-bit grey stays 16-bit;
palettes become colour, transparency is dropped, and black is 0."""

import os
import struct
import zlib

import numpy as np
from PIL import Image as Picture
from PIL import ImageSequence
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION

from tvrl_jax.claims import check_packed
from tvrl_jax.data.readers.image import Image, make_image
from tvrl_jax.errors import UserError, reading

BROKEN = (
    SyntaxError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    struct.error,
    zlib.error,
    Picture.DecompressionBombError,
)
# Of all that Pillow knows only these, whatever a file is named: some of the others start programs.
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP")
GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
BYTES = {"1": 1, "L": 1, "I": 4, "F": 4, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # a pixel


def read(path: str) -> list[Image]:
    """An animation's display durations are its times, and the note says so."""
    frames, durations, claimed = [], [], 0
    with reading(path, *BROKEN), Picture.open(path, formats=FORMATS) as picture:
        for page in ImageSequence.Iterator(picture):
            claimed += page.width * page.height * BYTES.get(page.mode, 3)
            check_packed(path, claimed, os.path.getsize(path))
            frames.append(_pixels(page))
            durations.append(float(page.info.get("duration", 0) or 0))
    for k, frame_HWC in enumerate(frames):
        if frame_HWC.shape != frames[0].shape:
            raise UserError(
                f"{path}: page {k} has size {frame_HWC.shape} and page 0 {frames[0].shape}: "
                "all frames of a series need one size."
            )
    if len(frames) > 1 and min(durations) > 0:
        time_T = np.cumsum([0.0, *durations[:-1]]) / 1000
        return [make_image(path, np.stack(frames), time_T, note="times are display durations")]
    return [make_image(path, frames[0][None] if len(frames) == 1 else np.stack(frames))]


def _pixels(page: Picture.Image) -> np.ndarray:
    """[H,W,1] or [H,W,3]."""
    if page.mode.startswith("I;16") and _white_is_zero(page):
        return 65535 - np.asarray(page)[..., None]
    if page.mode in GREY:
        return np.asarray(page)[..., None]
    if page.mode in ("LA", "La"):
        return np.asarray(page.convert("L"))[..., None]
    return np.asarray(page.convert("RGB"))


def _white_is_zero(page: Picture.Image) -> bool:
    """Of a TIFF; Pillow itself turns only grey values of up to 8 bits."""
    return getattr(page, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == 0
