"""Damaged NIfTI files, as they are and gzipped."""

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np

from tvrl_jax.data import readers

from . import mutate
from .law import Target

FIELDS = (
    (0, "<i"), (40, "<h"), (42, "<h"), (44, "<h"), (46, "<h"), (48, "<h"), (50, "<h"), (70, "<h"),
    (72, "<h"), (76, "<f"), (80, "<f"), (84, "<f"), (92, "<f"), (108, "<f"), (112, "<f"),
    (116, "<f"), (123, "<B"), (254, "<h"), (280, "<f"), (344, "<i"), (348, "<i"), (352, "<i"),
    (356, "<i"),
)  # fmt: skip
KINDS = (np.uint8, np.int16, np.uint16, np.float32, np.float64, np.int32, np.int8)
HUGE = (32767, 32767, 32767, 32767)


def good(rng: np.random.Generator) -> bytes:
    shape = mutate.pick(rng, ((5, 6), (5, 6, 2), (5, 6, 2, 3), (4, 4, 1, 3), (3, 4, 2, 2, 1)))
    data = rng.integers(0, 100, shape).astype(mutate.pick(rng, KINDS))
    make = nibabel.Nifti1Image if rng.random() < 0.8 else nibabel.Nifti2Image
    image = make(data, np.diag([1.5, 1.5, 8, 1]))
    image.header.set_xyzt_units("mm", mutate.pick(rng, ("sec", "msec", "unknown")))
    if rng.random() < 0.3:
        image.header.extensions.append(
            nibabel.nifti1.Nifti1Extension(int(mutate.pick(rng, (2, 6, 32))), b"x" * 40)
        )
    return image.to_bytes()


def damaged(rng: np.random.Generator) -> bytes:
    data = good(rng)
    if rng.random() < 0.3:
        return mutate.bytes_(rng, data)
    if rng.random() < 0.1:  # a shape beyond reason
        data = data[:42] + struct.pack("<4h", *HUGE) + data[50:]
    for _ in range(int(rng.integers(0, 4))):
        data = mutate.field(rng, data, *mutate.pick(rng, FIELDS))
    return data


def make_plain(rng: np.random.Generator, folder: Path) -> str:
    (folder / "a.nii").write_bytes(damaged(rng))
    return str(folder / "a.nii")


def _bomb(rng: np.random.Generator) -> bytes:
    """Small, and large once inflated: in the image, behind it, or in an extension."""
    frames = int(rng.integers(20, 400))
    head = bytearray(nibabel.Nifti1Image(np.zeros((4, 4, 1, 1), np.uint8), None).to_bytes()[:352])
    kind = rng.integers(4)
    if kind < 2:
        head[40:50] = struct.pack("<5h", 4, 1024, 1024, 1, frames)
    if kind == 1:
        head[112:120] = struct.pack("<2f", 2.0, 1.0)
    if kind == 2:
        head[108:112], head[348] = struct.pack("<f", 352 + (frames << 20)), 1
        head += struct.pack("<2i", frames << 20, 4)
    if kind == 3:
        head[108:112], head[348] = struct.pack("<f", 1000), 1
        head += struct.pack("<2i", int(mutate.pick(rng, (0, -8, -(2**31)))), 4)
    return gzip.compress(bytes(head) + bytes(frames << 20), 1)


def make_packed(rng: np.random.Generator, folder: Path) -> str:
    data = _bomb(rng) if rng.random() < 0.01 else gzip.compress(damaged(rng), 1)
    if rng.random() < 0.2:
        data = mutate.bytes_(rng, data)
    (folder / "a.nii.gz").write_bytes(data)
    return str(folder / "a.nii.gz")


TARGETS = (
    Target("nifti", make_plain, readers.read, weight=10),
    Target("nifti-gz", make_packed, readers.read, weight=8),
)
