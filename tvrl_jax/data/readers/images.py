"""PNG, JPEG, TIFF and the like; pages and animation frames are frames. 16-bit grey stays 16-bit;
palettes become colour and transparency is dropped."""

import struct
import zlib

import numpy as np
from PIL import Image as Picture
from PIL import ImageSequence

from tvrl_jax.data.readers.image import Image, make_image, reading
from tvrl_jax.errors import UserError

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
GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def read(path: str) -> list[Image]:
    """An animation's display durations are its times, and the note says so."""
    frames, durations = [], []
    with reading(path, *BROKEN), Picture.open(path) as picture:
        for page in ImageSequence.Iterator(picture):
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
    return [make_image(path, np.stack(frames))]


def _pixels(page: Picture.Image) -> np.ndarray:
    """[H,W,1] or [H,W,3]."""
    if page.mode in GREY:
        return np.asarray(page)[..., None]
    if page.mode in ("LA", "La"):
        return np.asarray(page.convert("L"))[..., None]
    return np.asarray(page.convert("RGB"))
