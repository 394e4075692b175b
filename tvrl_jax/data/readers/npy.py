"""NumPy files.

Layout of an array, whatever the file: 2-D H,W is one frame; 3-D is T,H,W; 4-D is T,H,W,C when its
last axis is 1 or 3 and S,T,H,W (S slices) otherwise; 5-D is S,T,H,W,C. What would then come to
frames of 1 to 4 columns, or may have its colours in front, is refused.

Names in an .npz: the frames are `cine` (or frames, video, images, image, arr_0, or the only array
with three to five axes); times are [T] or [S,T] and their name says the unit (`time_s`, `time_ms`,
`trigger_time_ms`, `time_days`, ...); `spacing_mm` ends in row and column. The rest is not read.
"""

import re

import numpy as np

from tvrl_jax.data.readers.image import Image, make_image
from tvrl_jax.data.times import SECONDS
from tvrl_jax.errors import UserError
from tvrl_jax.files import archive

FRAMES = ("cine", "frames", "video", "images", "image", "arr_0")
LARGE = 16  # pixels; axes of this length and more are rows and columns beside one of at most 4
TIMES = re.compile(rf"(trigger_)?times?_({'|'.join(SECONDS)})")


def read(path: str) -> list[Image]:
    if path.lower().endswith(".npz"):
        return _read_npz(path)
    return _images(path, archive.read_array(path), None, None, "")


def _read_npz(path: str) -> list[Image]:
    shapes = {name: member.shape for name, member in archive.members(path).items()}
    name = _frames_name(path, shapes)
    timed = [key for key in shapes if TIMES.fullmatch(key)]
    if len(timed) > 1:
        raise UserError(f"{path} has several arrays of times ({', '.join(timed)}): keep one.")
    wanted = [name, *timed, *(key for key in ("spacing_mm",) if key in shapes)]
    array = archive.read_arrays(path, wanted)
    time = None
    if timed:
        unit = TIMES.fullmatch(timed[0]).group(2)
        time = _numbers(path, timed[0], array[timed[0]]) * SECONDS[unit]
    unclear = {"time", "times"} & set(shapes)
    note = ""
    if unclear and not timed:
        note = f"`{unclear.pop()}` states no unit, as `time_s` does, and is not used"
    spacing = array.get("spacing_mm")
    if spacing is not None:
        spacing = _numbers(path, "spacing_mm", spacing)
    return _images(path, array[name], time, spacing, note)


def _numbers(path: str, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iuf":
        raise UserError(f"{path}: {name} must hold numbers; it holds {array.dtype}.")
    return array.astype(np.float64)


def _frames_name(path: str, shapes: dict[str, tuple[int, ...]]) -> str:
    for name in FRAMES:
        if name in shapes:
            return name
    large = [name for name, shape in shapes.items() if 3 <= len(shape) <= 5]
    if len(large) == 1:
        return large[0]
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    raise UserError(f"{path} holds {found}: name the array of frames `cine`.")


def _images(path: str, pixels: np.ndarray, time, spacing, note: str) -> list[Image]:
    _check_colours(path, pixels.shape, time)
    pixels, sliced = _layout(path, pixels)
    if not note and sliced and pixels.shape[1] == 1 and time is None:
        note = "read as slices of one frame (S,T,H,W); a cine is T,H,W"
    if spacing is not None:
        if spacing.size not in (2, 3):
            raise UserError(f"{path}: spacing_mm has {spacing.size} numbers; give row and column.")
        spacing = spacing.reshape(-1)[-2:]
    times = [time] * len(pixels)
    if time is not None and time.ndim == 2:
        if len(time) != len(pixels):
            raise UserError(f"{path} has {len(pixels)} slices and times for {len(time)}.")
        times = list(time)
    return [
        make_image(path, pixels[k], times[k], spacing, k if sliced else None, note)
        for k in range(len(pixels))
    ]


def _check_colours(path: str, shape: tuple[int, ...], time) -> None:
    """UserError for an array that another library may have given an axis of colours."""
    narrow = (len(shape) == 3 and shape[-1] <= 4) or (len(shape) == 4 and shape[-1] in (2, 4))
    if narrow and min(shape[-3:-1]) >= LARGE:
        raise UserError(
            f"{path} has shape {shape}, whose last axis looks like colours: use T,H,W or T,H,W,C "
            "with 1 or 3 channels (1,H,W,C is one picture)."
        )
    in_front = len(shape) == 4 and shape[1] == 3 and min(shape[2:]) >= LARGE
    timed = np.shape(time)[-1:] == (3,) and shape[0] != 3
    if in_front and not timed:
        raise UserError(
            f"{path} has shape {shape}, whose second axis may be colours or frames: use T,H,W,C "
            "for colours, and S,T,H,W,1 for slices of 3 frames."
        )


def _layout(path: str, pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    """-> [S,T,H,W,C] and whether the file has slices; the rule stands at the top."""
    if 0 in pixels.shape:
        raise UserError(
            f"{path} holds no frames, or frames of no pixels (its shape is "
            f"{pixels.shape}): remove it."
        )
    colour = pixels.ndim >= 4 and pixels.shape[-1] in (1, 3)
    if pixels.ndim in (2, 3):
        return pixels.reshape(1, -1, *pixels.shape[-2:], 1), False
    if pixels.ndim == 4 and colour:
        return pixels[None], False
    if pixels.ndim == 4:
        return pixels[..., None], True
    if pixels.ndim == 5 and colour:
        return pixels, True
    raise UserError(
        f"{path} has shape {pixels.shape}: use T,H,W or T,H,W,C or S,T,H,W or S,T,H,W,C with "
        "1 or 3 channels."
    )
