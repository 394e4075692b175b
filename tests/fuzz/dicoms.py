"""Damaged DICOM: single frames, many frames, packed pixels, folders."""

import os
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tvrl_jax.data import readers

from . import mutate
from .law import Target

# Of pydicom's own examples, some of each way to pack pixels.
PACKED = (
    "SC_rgb_rle.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_small_odd_jpeg.dcm", "JPEG2000.dcm",
    "693_J2KI.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_RLE.dcm", "JPEG-lossy.dcm", "SC_rgb_jpeg_gdcm.dcm", "image_dfl.dcm",
    "JPEGLSNearLossless_16.dcm", "SC_rgb_small_odd_big_endian.dcm", "MR_truncated.dcm",
    "nested_priv_SQ.dcm", "badVR.dcm", "rtdose_rle.dcm", "MR_small_padded.dcm", "no_meta.dcm",
)  # fmt: skip
NUMBERS = {
    "Rows": "H", "Columns": "H", "BitsAllocated": "H", "BitsStored": "H", "HighBit": "H",
    "PixelRepresentation": "H", "SamplesPerPixel": "H", "PlanarConfiguration": "H",
}  # fmt: skip
WORDS = {"NumberOfFrames": 0x00280008, "FrameTime": 0x00181063, "RescaleSlope": 0x00281053,
         "RescaleIntercept": 0x00281052, "PixelSpacing": 0x00280030, "TriggerTime": 0x00181060,
         "InstanceNumber": 0x00200013, "ImagePositionPatient": 0x00200032,
         "SliceLocation": 0x00201041, "FrameTimeVector": 0x00181065}  # fmt: skip
TEXTS = (b"0", b"-1", b"1A", b"2147483647", b"99999999999", b"nan", b"inf", b"", b"1\\2", b"1e308",
         b"\\", b"\xff\xfe", b"3 ", b"1\\2\\3", b"0\\0")  # fmt: skip
KINDS = (b"MONOCHROME1", b"PALETTE COLOR", b"RGB", b"YBR_FULL_422", b"YBR_RCT", b"XYZ", b"")
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99",
            "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70",
            "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5",
            "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.201", "1.2.3", "x")  # fmt: skip


def good(rng: np.random.Generator, frames: int, **values) -> bytes:
    shape = (6, 7) if frames == 1 else (frames, 6, 7)
    pixels = rng.integers(0, 200, shape).astype(mutate.pick(rng, (np.uint8, np.uint16, np.int16)))
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Rows, data.Columns = shape[-2:]
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [1.5, 1.5], 2, 1
    if frames > 1:
        data.NumberOfFrames, data.FrameTime = frames, 33.3
    data.add_new("PixelData", "OW", pixels.tobytes())
    for key, value in values.items():
        setattr(data, key, value)
    buffer = pydicom.filebase.DicomBytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@cache
def example(name: str) -> bytes:
    return Path(get_testdata_file(name, download=False)).read_bytes()


def _element(rng: np.random.Generator, data: bytes) -> bytes:
    """One element of the header, found by its tag and not by a parser, gets another value."""
    keyword = mutate.pick(rng, (*NUMBERS, *WORDS, "PhotometricInterpretation", "PixelData"))
    tag = pydicom.datadict.tag_for_keyword(keyword)
    at = data.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132)
    if at < 0 or at + 8 > len(data):
        return data
    if keyword in NUMBERS:
        return mutate.field(rng, data, at + 8, "<H")
    if keyword == "PixelData":
        return mutate.field(rng, data, at + int(mutate.pick(rng, (4, 6, 8))), "<I")
    value = mutate.pick(rng, KINDS if keyword[0] == "P" and keyword[1] == "h" else TEXTS)
    value += b" " * (len(value) % 2)
    (size,) = struct.unpack("<H", data[at + 6 : at + 8])
    return data[: at + 6] + struct.pack("<H", len(value)) + value + data[at + 8 + size :]


def _syntax(rng: np.random.Generator, data: bytes) -> bytes:
    """Another transfer syntax for the same bytes."""
    at = data.find(b"\x02\x00\x10\x00UI")
    if at < 0:
        return data
    (size,) = struct.unpack("<H", data[at + 6 : at + 8])
    value = mutate.pick(rng, SYNTAXES).encode()
    value += b"\0" * (len(value) % 2)
    data = data[: at + 6] + struct.pack("<H", len(value)) + value + data[at + 8 + size :]
    if data[132:138] == b"\x02\x00\x00\x00UL":  # the length of the group
        (group,) = struct.unpack("<I", data[140:144])
        data = data[:140] + struct.pack("<I", max(0, group + len(value) - size)) + data[144:]
    return data


def _deflated(rng: np.random.Generator) -> bytes:
    """Everything behind the first group is inflated by whoever reads it."""
    head = example("image_dfl.dcm")
    end = 144 + struct.unpack("<I", head[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 700 << 20)
    body = packer.compress(element)
    for _ in range(int(rng.integers(64, 700))):
        body += packer.compress(bytes(1 << 20))
    return head[:end] + body + packer.flush()


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    for _ in range(int(rng.integers(1, 4))):
        data = _element(rng, data) if rng.random() < 0.8 else data
    if rng.random() < 0.15:
        data = _syntax(rng, data)
    return mutate.bytes_(rng, data) if rng.random() < 0.3 else data


def make_file(rng: np.random.Generator, folder: Path) -> str:
    path = folder / mutate.pick(rng, ("a.dcm", "a"))
    path.write_bytes(damaged(rng, good(rng, int(mutate.pick(rng, (1, 3))))))
    return str(path)


def make_packed(rng: np.random.Generator, folder: Path) -> str:
    if rng.random() < 0.005:
        data = _deflated(rng)
    else:
        data = example(mutate.pick(rng, PACKED))
        data = mutate.bytes_(rng, data) if rng.random() < 0.2 else damaged(rng, data)
        data = _inside(rng, data) if rng.random() < 0.4 else data
    path = folder / "a.dcm"
    path.write_bytes(data)
    return str(path)


SIZED = {  # a marker, and where the sizes stand behind it
    b"\xff\xc0": (5, 7, 9),
    b"\xff\xc3": (5, 7, 9),
    b"\xff\xf7": (5, 7, 9),
    b"\xff\x51": (6, 10, 14, 18, 22, 26, 38),
}


def _inside(rng: np.random.Generator, data: bytes) -> bytes:
    """Damage in the packed pixels, their sizes above all."""
    for mark, offsets in SIZED.items():
        at = data.find(mark, 400)
        if at >= 0 and rng.random() < 0.7:
            offset = int(mutate.pick(rng, offsets))
            return mutate.field(rng, data, at + offset, ">I" if mark == b"\xff\x51" else ">H")
    at = data.find(b"\xe0\x7f\x10\x00")
    return data[:at] + mutate.bytes_(rng, data[at:]) if at >= 0 else data


def make_folder(rng: np.random.Generator, folder: Path) -> str:
    inside = folder / "series"
    inside.mkdir()
    for n in range(int(rng.integers(1, 5))):
        values = {"InstanceNumber": n, "TriggerTime": n * 30.0, "SliceLocation": float(n % 2)}
        data = good(rng, 1, **values)
        data = damaged(rng, data) if rng.random() < 0.4 else data
        (inside / f"{n}.dcm").write_bytes(data)
    odd = rng.integers(8)
    if odd == 0:
        os.mkfifo(inside / "pipe.dcm")
    elif odd == 1:
        os.symlink(
            mutate.pick(rng, ("/dev/zero", "/dev/stdin", "loop", "gone", "..")), inside / "loop"
        )
    elif odd == 2:
        (inside / "DICOMDIR").write_bytes(rng.bytes(200))
    return str(inside)


TARGETS = (
    Target("dicom", make_file, readers.read, weight=10),
    Target("dicom-packed", make_packed, readers.read, weight=10),
    Target("dicom-folder", make_folder, readers.read, weight=4),
)
