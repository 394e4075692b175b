"""NumPy's .npy and .npz files, looked at before they are believed. Nothing is ever unpickled."""

import io
import math
import os
import struct
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import reading
from tvrl_jax.files.claims import check_claim, check_packed

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
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy writes no others


class Member(NamedTuple):
    """An array of an .npz file."""

    shape: tuple[int, ...]
    size: int  # bytes, unpacked


def read_array(path: str) -> np.ndarray:
    """The array of an .npy file. Raises UserError."""
    with PARSING:
        with reading(path, *BROKEN), open(path, "rb") as file:
            shape, dtype, length = _header(file)
        check_claim(path, _bytes(shape, dtype), os.path.getsize(path) - length)
        with reading(path, *BROKEN):
            return np.load(path, allow_pickle=False)


def members(path: str) -> dict[str, Member]:
    """The arrays of an .npz file by name, none of them read; the rest of it is passed over.

    Raises UserError for a file, or a claim of one of its arrays, that cannot be true."""
    with PARSING, reading(path, *BROKEN), zipfile.ZipFile(path) as archive:
        return {
            info.filename.removesuffix(".npy"): _member(path, archive, info)
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }


def read_arrays(path: str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file, or all. Raises UserError."""
    found = members(path)
    names = list(found if names is None else names)
    check_packed(path, sum(found[name].size for name in names), os.path.getsize(path))
    with PARSING, reading(path, *BROKEN), np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[f"{name}.npy"] for name in names}


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


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    if info.compress_type not in METHODS:
        raise ValueError(f"{info.filename} is packed in a way that NumPy does not write")
    with archive.open(info) as file:
        shape, dtype, length = _header(file)
    check_claim(path, _bytes(shape, dtype), info.file_size - length)
    return Member(shape, info.file_size)
