"""NumPy files. Nothing is ever unpickled.

Layout of an array, whatever the file: 2-D H,W is one frame; 3-D is T,H,W; 4-D is T,H,W,C when its
last axis is 1 or 3 and S,T,H,W (S slices) otherwise; 5-D is S,T,H,W,C.

Names in an .npz: the frames are `cine` (or frames, video, images, image, arr_0, or the only array
with three to five axes); times are [T] or [S,T] and their name says the unit (`time_s`, `time_ms`,
`trigger_time_ms`, `time_days`, ...); `spacing_mm` ends in row and column. The rest is not read.
"""

import io
import math
import os
import re
import struct
import threading
import tokenize
import zipfile
import zlib

import numpy as np

from tvrl_jax.claims import check_claim, check_packed
from tvrl_jax.data.readers.image import Image, make_image, reading
from tvrl_jax.data.times import SECONDS
from tvrl_jax.errors import UserError

FRAMES = ("cine", "frames", "video", "images", "image", "arr_0")
TIMES = re.compile(rf"(trigger_)?times?_({'|'.join(SECONDS)})")
BROKEN = (
    ValueError,
    TypeError,
    SyntaxError,
    KeyError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)
# NumPy parses a header as Python source, which CPython 3.11 now and then fails to do in two threads
# at once ("AST constructor recursion depth mismatch").
PARSING = threading.Lock()
HEADER = 12 + 10_000  # bytes; NumPy reads no longer one


def read(path: str) -> list[Image]:
    with PARSING:
        return _read_npz(path) if path.lower().endswith(".npz") else _read_npy(path)


def _read_npy(path: str) -> list[Image]:
    with reading(path, *BROKEN), open(path, "rb") as file:
        shape, dtype, length = _header(file)
        available = os.path.getsize(path) - length
    check_claim(path, _bytes(shape, dtype), available)
    with reading(path, *BROKEN):
        pixels = np.load(path, allow_pickle=False)
    return _images(path, pixels, None, None, "")


def _header(file) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type, and the bytes before the array. Reads no more, whatever length is stated."""
    file = io.BytesIO(file.read(HEADER))
    version = np.lib.format.read_magic(file)
    if version > (2, 0):
        raise ValueError("it holds named fields instead of one array of numbers")
    reader = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, _, dtype = reader[version[0]](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, dtype, file.tell()


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _read_npz(path: str) -> list[Image]:
    with reading(path, *BROKEN), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        names = [info.filename.removesuffix(".npy") for info in members]
        sizes = dict(zip(names, (info.file_size for info in members), strict=True))
        shapes = {
            name: _member(path, archive, info) for name, info in zip(names, members, strict=True)
        }
    name = _frames_name(path, shapes)
    timed = [key for key in shapes if TIMES.fullmatch(key)]
    if len(timed) > 1:
        raise UserError(f"{path} has several arrays of times ({', '.join(timed)}): keep one.")
    wanted = [name, *timed, *(key for key in ("spacing_mm",) if key in shapes)]
    check_packed(path, sum(sizes[key] for key in wanted), os.path.getsize(path))
    with reading(path, *BROKEN), np.load(path, allow_pickle=False) as arrays:
        array = {key: arrays[f"{key}.npy"] for key in wanted}
    time = None
    if timed:
        unit = TIMES.fullmatch(timed[0]).group(2)
        time = _numbers(path, timed[0], array[timed[0]]) * SECONDS[unit]
    unclear = {"time", "times"} & set(shapes)
    note = f"`{unclear.pop()}` states no unit and is not used" if unclear and not timed else ""
    spacing = array.get("spacing_mm")
    if spacing is not None:
        spacing = _numbers(path, "spacing_mm", spacing)
    return _images(path, array[name], time, spacing, note)


def _numbers(path: str, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iuf":
        raise UserError(f"{path}: {name} must hold numbers; it holds {array.dtype}.")
    return array.astype(np.float64)


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, ...]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is packed in a way that NumPy does not write")
    with archive.open(info) as file:
        shape, dtype, length = _header(file)
    check_claim(path, _bytes(shape, dtype), info.file_size - length)
    return shape


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
    pixels, sliced = _layout(path, pixels)
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
