"""Opening DICOM files with care: lengths that no file can hold, and packed frames or whole files
that would become far larger than they say."""

import io
import math
import os
import zlib

import pydicom
from pydicom.encaps import generate_frames
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tvrl_jax.data.readers import jpeg
from tvrl_jax.files.claims import check_packed

LARGE = 1 << 20  # bytes


class _Clamped(io.BufferedReader):
    """Reads what is there: Python would first make room for all that is asked for."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > LARGE:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def open_header(path: str, **options) -> pydicom.Dataset:
    """As pydicom.dcmread(path, **options)."""
    with _Clamped(io.FileIO(path)) as file:
        _check_deflated(path, file)
        file.seek(0)
        return pydicom.dcmread(file, **options)


def _check_deflated(path: str, file: _Clamped) -> None:
    """pydicom inflates a deflated file in one go, however much that is."""
    read_preamble(file, False)
    if _read_file_meta_info(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), os.path.getsize(path)
    inflated, left = 0, file.read()
    while left and not unpacker.eof:
        inflated += len(unpacker.decompress(left, LARGE))
        left = unpacker.unconsumed_tail
        check_packed(path, inflated, size)


def check(header: pydicom.Dataset, count: int) -> None:
    """Raises ValueError for a packed frame that is larger than the header says (decoders believe
    the frame, and take memory for its samples before anyone compares the two), or that lacks its
    end (those of JPEG and JPEG-LS fill what is missing with grey, and say nothing)."""
    stated = int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel", 1))
    for n, frame in enumerate(generate_frames(header.PixelData, number_of_frames=count)):
        if not jpeg.is_whole(frame):
            raise ValueError(f"frame {n} is packed and has no end")
        found = packed_size(frame)
        if found is None:
            continue
        if min(found) < 1:  # some decoders never end then
            raise ValueError(f"frame {n} is packed without a size")
        if math.prod(found) > math.prod(stated):
            raise ValueError(
                f"frame {n} is packed as {_words(found)} samples and the header says "
                f"{_words(stated)}"
            )


def _words(size: tuple[int, int, int]) -> str:
    return " x ".join(map(str, size))


def packed_size(frame: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, samples of a pixel) that a JPEG, JPEG-LS or JPEG 2000 frame states; zeros
    where it lacks its header, None for what has none, as run lengths."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0:
        x, y, left, top = (_number(frame, start + at, 4) for at in (8, 12, 16, 20))
        return max(0, y - top), max(0, x - left), _number(frame, start + 40, 2)
    return _jpeg_size(frame) if frame[:2] == b"\xff\xd8" else None


def _number(frame: bytes, at: int, count: int) -> int:
    return int.from_bytes(frame[at : at + count], "big")


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    """The largest size of all frame headers: a file may hold a second one."""
    largest, at = (0, 0, 0), 2
    while 0 <= (at := frame.find(b"\xff", at)) < len(frame) - 8:
        kind = frame[at + 1]
        if (0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)) or kind == 0xF7:
            size = _number(frame, at + 5, 2), _number(frame, at + 7, 2), _number(frame, at + 9, 1)
            largest = max(largest, size, key=math.prod)
        if kind == 0xDA:  # the pixels themselves
            break
        marker = kind in (0, 0xFF, 0xD8) or 0xD0 <= kind <= 0xD7
        at += 1 if marker else 2 + max(2, _number(frame, at + 2, 2))
    return largest
