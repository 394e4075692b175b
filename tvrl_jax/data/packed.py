"""One file of the store: a header, then the frames of one or more series as plain bytes.

    8 bytes magic | uint32 length of the header | uint32 its CRC-32 | JSON | zeros up to a page |
    uint8 frames of the series one after another, each [frames, size, size, channels]

It appears whole or not at all: written beside its place, flushed to the disk, then renamed.
"""

import json
import mmap
import os
import struct
import zlib
from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError
from tvrl_jax.files import whole_file

MAGIC = b"tvrl-u8\n"
PREFIX = struct.Struct("<8sII")
PAGE = 4096


class StoreError(UserError):
    """Says nothing about an image: it ends the packing, whatever data.on_bad allows."""


class Entry(NamedTuple):
    """A series in a file of the store."""

    slice: int | None
    frames: int
    offset: int  # of its first frame, bytes after the header's pages
    time_s: tuple[float, ...] | None  # what the image file says, seconds
    note: str


class Packed(NamedTuple):
    path: str
    start: int  # of the first byte of frames
    size: int  # of the file, bytes
    crc: int  # CRC-32 of all frames
    entries: tuple[Entry, ...]


def write(path: str, series: list[tuple[Entry, np.ndarray]]) -> None:
    """Atomic. Raises StoreError when there is no room or no permission."""
    crc, offset, entries = 0, 0, []
    for entry, frame_THWC in series:
        entries.append(entry._replace(offset=offset))
        crc, offset = zlib.crc32(frame_THWC, crc), offset + frame_THWC.nbytes
    header = json.dumps({"crc": crc, "bytes": offset, "entries": entries}).encode()
    head = PREFIX.pack(MAGIC, len(header), zlib.crc32(header)) + header
    head += b"\0" * (-len(head) % PAGE)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with whole_file.writing(path, binary=True, shared=True) as file:
            file.write(head)
            for _, frame_THWC in series:
                file.write(frame_THWC.data)
    except OSError as error:
        raise StoreError(
            f"cannot write {path} ({error.strerror}): make room or set another data.store."
        ) from None


def read_header(path: str) -> Packed | None:
    """None when there is no such file, or when it is not what was written."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            magic, length, crc = PREFIX.unpack(file.read(PREFIX.size))
            header = file.read(min(length, size))
    except (OSError, struct.error):
        return None
    if magic != MAGIC or len(header) != length or zlib.crc32(header) != crc:
        return None
    content = json.loads(header)
    start = -(-(PREFIX.size + length) // PAGE) * PAGE
    if size != start + content["bytes"]:
        return None
    entries = tuple(Entry(*entry) for entry in content["entries"])
    return Packed(path, start, size, content["crc"], entries)


def is_whole(packed: Packed) -> bool:
    """Whether the frames have the checksum that the header states. Reads all of them."""
    with open(packed.path, "rb") as file:
        file.seek(packed.start)
        crc = 0
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc == packed.crc


def view(path: str, start: int, shape: tuple[int, int, int, int]) -> tuple[mmap.mmap, np.ndarray]:
    """The mapped file, and read-only frames [T,H,W,C] in it: nothing is read before it is used."""
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return mapped, np.ndarray(shape, np.uint8, mapped, start)
