"""PNG, JPEG, TIFF and the like; pages and animation frames are frames. 16-bit grey stays 16-bit;
palettes become colour, transparency is dropped, black is 0, and pictures that state how a viewer is
to turn them (EXIF) are turned. 16-bit colour becomes 8-bit, and the note says so."""

import os
import struct
import zlib
from contextlib import suppress
from typing import IO

import numpy as np
from PIL import ExifTags, ImageSequence
from PIL import Image as Picture
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

from tvrl_jax.data.readers import tiff
from tvrl_jax.data.readers.image import Image, make_image
from tvrl_jax.errors import UserError, reading
from tvrl_jax.files.claims import check_packed

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
# (mode, bits, SampleFormat) of TIFF that Pillow reads as if they were uint8 and int32.
STATED = {("L", (8,), (2,)): np.int8, ("I", (32,), (1,)): np.uint32}
HALVED = (
    "16-bit colour, or grey with transparency, is read as 8-bit: save it as 16-bit grey, or as .npy"
)
TURN = Picture.Transpose
TURNS = {
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_270,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_90,
}  # by the EXIF orientation


def read(path: str) -> list[Image]:
    """An animation's display durations are its times, and the note says so."""
    frames, durations, claimed, halved = [], [], 0, False
    # Of a path, Pillow would map TIFF into memory by the size that it has when it is turned.
    with reading(path, *BROKEN), open(path, "rb") as file:
        picture = Picture.open(file, formats=FORMATS)
        for page in ImageSequence.Iterator(picture):
            claimed += page.width * page.height * BYTES.get(page.mode, 3)
            check_packed(path, claimed, os.path.getsize(path))
            halved = halved or _is_halved(page)
            if page.format == "TIFF":
                tiff.prepare(path, page, file)
            frames.append(_pixels(_upright(page)))
            durations.append(float(page.info.get("duration", 0) or 0))
            if page.format == "MPO":  # a camera's JPEG: what follows are previews and depth maps
                break
        _check_end(path, picture, file, len(frames))
    for k, frame_HWC in enumerate(frames):
        if frame_HWC.shape != frames[0].shape:
            raise UserError(
                f"{path}: page {k} has size {frame_HWC.shape} and page 0 {frames[0].shape}: "
                "all frames of a series need one size."
            )
    notes, time_T = [HALVED] * halved, None
    if len(frames) > 1 and min(durations) > 0:
        notes.append("times are display durations")
        time_T = np.cumsum([0.0, *durations[:-1]]) / 1000
    frame_THWC = frames[0][None] if len(frames) == 1 else np.stack(frames)
    return [make_image(path, frame_THWC, time_T, note="; ".join(notes))]


def _check_end(path: str, picture: Picture.Image, file: IO[bytes], pages: int) -> None:
    """Pillow takes a file that is cut between two pages for one of fewer pages. Asked after it
    looked for another page and found none."""
    last = True
    if picture.format == "TIFF":  # 0, or where the next one is, which may be cut off
        last = picture.tag_v2.next == 0
    elif picture.format == "GIF":
        file.seek(-1, os.SEEK_CUR)
        last = file.read(1) == b";"
    if not last:
        raise UserError(
            f"{path} ends with page {pages - 1} and does not say that it is the last: the file is "
            "damaged or cut short."
        )


def _is_halved(page: Picture.Image) -> bool:
    """Whether Pillow keeps 8 bits of 16. Asked before it loads, and forgets what the file has."""
    return page.mode not in GREY and any(";16" in str(tile[3]) for tile in page.tile)


def _upright(page: Picture.Image) -> Picture.Image:
    """As viewers show it. Pillow's own exif_transpose writes the rest of the EXIF anew, and fails
    where that is damaged."""
    if page.format == "TIFF":  # Pillow turns these while it loads them
        return page
    page.load()
    turn = None
    with suppress(*BROKEN, OSError, EOFError):
        turn = TURNS.get(page.getexif().get(ExifTags.Base.Orientation))
    return page if turn is None else page.transpose(turn)


def _pixels(page: Picture.Image) -> np.ndarray:
    """[H,W,1] or [H,W,3]."""
    if page.mode.startswith("I;16") and _white_is_zero(page):
        return 65535 - np.asarray(page)[..., None]
    if page.mode in GREY:
        return _as_stated(page, np.asarray(page))[..., None]
    if page.mode in ("LA", "La"):
        return np.asarray(page.convert("L"))[..., None]
    return np.asarray(page.convert("RGB"))


def _as_stated(page: Picture.Image, pixel_HW: np.ndarray) -> np.ndarray:
    """The same bytes, with a sign or without one as a TIFF says."""
    tags = getattr(page, "tag_v2", {})
    stated = (page.mode, tags.get(BITSPERSAMPLE), tags.get(SAMPLEFORMAT, (1,)))
    return pixel_HW.view(STATED[stated]) if stated in STATED else pixel_HW


def _white_is_zero(page: Picture.Image) -> bool:
    """Of a TIFF; Pillow itself turns only grey values of up to 8 bits."""
    return getattr(page, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == 0
