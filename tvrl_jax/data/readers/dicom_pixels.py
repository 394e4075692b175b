"""Stored DICOM values -> frames: decompressed, palette applied, YBR as RGB, MONOCHROME1 inverted,
rescaled or looked up. Integers stay integers unless a rescale slope says otherwise (float32)."""

import struct
import zlib

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels import apply_color_lut, apply_modality_lut, iter_pixels

from tvrl_jax.data.readers import dicom_stream, dicom_times
from tvrl_jax.errors import UserError, reading
from tvrl_jax.files.claims import check_claim, check_packed

BROKEN = (
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def number_of_frames(path: str, header: pydicom.Dataset) -> int:
    with reading(path, *BROKEN):
        stated = header.get("NumberOfFrames")
        count = 1 if stated is None else int(stated)
    if count < 1:
        raise UserError(f"{path} states {count} frames: remove it.")
    return count


def frames(path: str, header: pydicom.Dataset, first: pydicom.Dataset | None = None) -> np.ndarray:
    """[N,H,W,C] of all frames, after checking that the file can hold what its header claims.
    `first` is the header of the first file of the series, None for this one."""
    count = number_of_frames(path, header)
    if "PixelData" not in header:
        raise UserError(f"{path} holds no pixels{_why_none(header)}.")
    _check_size(path, header, count)
    with reading(path, *BROKEN):
        _take_high_bits(header)
        total = _total(first or header, 0)
        found = [_frame(header, stored, n, total) for n, stored in enumerate(iter_pixels(header))]
    if len(found) != count:
        wrong = "it is cut short" if len(found) < count else "correct its NumberOfFrames"
        raise UserError(f"{path} states {count} frames and holds {len(found)}: {wrong}.")
    return np.stack(found)


def _why_none(header: pydicom.Dataset) -> str:
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        return " that are whole numbers: save it with PixelData, or as .npy"
    # Of a file that ends too early pydicom gives some of what comes before the pixels, or nothing.
    if "Rows" in header or len(header) == 0:
        return ": it is cut short"
    return ": it is cut short, or no image (map files of images)"


def _take_high_bits(header: pydicom.Dataset) -> None:
    """Old scanners kept 12 bits in the upper ones of 16, up to HighBit; pydicom takes the lowest,
    whatever HighBit says, and those are noise. Where nothing lies below the values, the whole word
    is their multiple; else HighBit is wrong and the values are where pydicom seeks them."""
    allocated, high = int(header.BitsAllocated), int(header.get("HighBit") or 0)
    stored = int(header.BitsStored)
    below = high + 1 - stored
    if below < 1 or high >= allocated or allocated not in (16, 32):
        return
    header.BitsStored = high + 1
    if any((word & word.dtype.type(2**below - 1)).any() for word in iter_pixels(header)):
        header.BitsStored = stored


def _check_size(path: str, header: pydicom.Dataset, count: int) -> None:
    stored, unpacked = _sizes(path, header, count)
    with reading(path, *BROKEN):
        packed = header.file_meta.TransferSyntaxUID.is_compressed
        available = len(header.PixelData)
    if not packed:
        check_claim(path, stored, available)
        return
    check_packed(path, max(stored, unpacked), available)
    with reading(path, *BROKEN):
        dicom_stream.check(header, count)


def unpacked(path: str, header: pydicom.Dataset) -> int:
    """Bytes that a single frame comes to, by its header."""
    return max(_sizes(path, header, 1))


def _sizes(path: str, header: pydicom.Dataset, count: int) -> tuple[int, int]:
    """Bytes of `count` frames as stored without packing, and as they are read."""
    with reading(path, *BROKEN):
        samples = int(header.get("SamplesPerPixel", 1))
        numbers = count * int(header.Rows) * int(header.Columns) * samples
        allocated = int(header.BitsAllocated)
        bits = numbers * allocated
        width = 4 if dicom_times.rescale(header, 0) != (1.0, 0.0) else max(1, allocated // 8)
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            width = max(width, 3 * 2)  # three colours of 16 bits
        if header.get("ModalityLUTSequence"):
            width = max(width, 2)
        packed = header.file_meta.TransferSyntaxUID.is_compressed
        halved = header.get("PhotometricInterpretation") == "YBR_FULL_422" and not packed
    if min(bits, samples) < 1:
        raise UserError(f"{path} states that its frames hold no pixels: remove it.")
    if halved:  # two pixels share their colour
        bits = bits * 2 // 3
    return -(-bits // 8), width * numbers


def _total(header: pydicom.Dataset, n: int) -> float:
    """What a value of frame n and its inverse come to, rescaled."""
    slope, intercept = dicom_times.rescale(header, n)
    largest = -1 if header.get("PixelRepresentation") else 2 ** int(header.BitsStored) - 1
    return slope * largest + 2 * intercept


def _frame(header: pydicom.Dataset, stored: np.ndarray, n: int, total: float) -> np.ndarray:
    """One frame [H,W,C]; pydicom has already turned YBR into RGB. Of MONOCHROME1, values and their
    inverse come to `total` in every frame: with slopes of their own they would not."""
    kind, bits = header.PhotometricInterpretation, int(header.BitsStored)
    if kind == "PALETTE COLOR":
        stored = apply_color_lut(stored, header)
    elif header.get("ModalityLUTSequence"):  # a table instead of slope and intercept
        stored = apply_modality_lut(stored, header)
        bits = 8 * stored.dtype.itemsize
    if kind == "MONOCHROME1":
        stored = _inverted(stored, bits)
    stored = stored[..., None] if stored.ndim == 2 else stored
    slope, intercept = dicom_times.rescale(header, n)
    if kind == "MONOCHROME1" and not header.get("ModalityLUTSequence"):
        intercept += total - _total(header, n)
    if (slope, intercept) == (1.0, 0.0):
        return stored
    scaled = stored.astype(np.float32)
    scaled *= np.float32(slope)
    scaled += np.float32(intercept)
    return scaled


def _inverted(stored: np.ndarray, bits: int) -> np.ndarray:
    """The largest value becomes the smallest; the type stays."""
    if stored.dtype.kind == "i":
        return ~stored
    return np.array(2**bits - 1, stored.dtype) - stored
