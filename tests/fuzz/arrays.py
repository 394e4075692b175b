"""Damaged .npy and .npz files."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from tvrl_jax.data import readers

from . import mutate
from .law import Target, pickled

DTYPES = ("u1", "<u2", ">i2", "<f4", "<f8", "?", "<f2", "<c8", "|S4", "<U3", "<M8[s]", "V3", "O")
SHAPES = ("(4, 5, 6)", "(5, 6)", "(2, 3, 5, 6)", "(2, 3, 5, 6, 3)", "()", "(0, 4, 4)", "(-1, 5, 6)")
SHAPES += ("(1152921504606846976,)", "(65535, 65535, 65535)", "(4294967296, 4294967296, 0)")
SHAPES += ("(True, 5, 6)", "(1, -5, -6)", "('4', 5, 6)", "(4.0, 5, 6)", "[4, 5, 6]", "None")
ODD = (
    "'|O'",
    "[('a', '<u2'), ('b', '|O')]",
    "'<u2' * 9",
    "__import__('os')",
    "(" * 300,
    "{}",
    "'<u'",
)
NAMES = ("cine", "frames", "time_s", "time_ms", "spacing_mm", "time", "label", "../cine", "/cine")
METHODS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
)


def good(rng: np.random.Generator) -> bytes:
    shape = mutate.pick(rng, ((4, 5, 6), (5, 6), (2, 3, 5, 6), (2, 3, 5, 6, 3), (4, 5, 6, 1)))
    return saved(rng.integers(0, 200, shape).astype(mutate.pick(rng, DTYPES[:7])))


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claimed(rng: np.random.Generator) -> bytes:
    """A header of its own, and some bytes that it may have nothing to do with."""
    dtype = repr(mutate.pick(rng, DTYPES)) if rng.random() < 0.7 else mutate.pick(rng, ODD)
    order = mutate.pick(rng, ("True", "False", "0", "None"))
    shape = mutate.pick(rng, SHAPES)
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text = text.ljust(int(mutate.pick(rng, (len(text), 118, 500, 9000, 20000)))) + b"\n"
    version = mutate.pick(rng, ((1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    length = len(text) if rng.random() < 0.8 else int(mutate.pick(rng, mutate.SIZES))
    size = (
        struct.pack("<H", length % 2**16)
        if version == (1, 0)
        else struct.pack("<I", length % 2**32)
    )
    return b"\x93NUMPY" + bytes(version) + size + text + rng.bytes(int(rng.integers(0, 3000)))


def make_npy(rng: np.random.Generator, folder: Path) -> str:
    path, kind = folder / "a.npy", rng.integers(8)
    if kind == 0:
        data = pickled(folder)
    elif kind == 1:
        head = saved(np.array([None, {}], object))
        data = head[: head.index(b"\n") + 1] + pickled(folder)
    elif kind <= 4:
        data = claimed(rng)
    else:
        data = mutate.bytes_(rng, good(rng)) if rng.random() < 0.9 else good(rng)
    path.write_bytes(data)
    return str(path)


def _member(rng: np.random.Generator, folder: Path) -> bytes:
    kind = rng.integers(20)
    if kind == 0:
        return pickled(folder)
    if kind <= 2:
        return claimed(rng)
    if kind <= 4 and rng.random() < 0.9:
        return good(rng)
    if kind == 3:  # a header that never ends
        return (
            b"\x93NUMPY\x02\x00"
            + struct.pack("<I", 2**32 - 1)
            + bytes(int(rng.integers(1, 24)) << 20)
        )
    if kind == 4:  # many frames of nothing
        return saved(np.zeros((int(rng.integers(1, 300)), 512, 512), np.uint8))
    if kind == 5:
        return saved(rng.normal(size=mutate.pick(rng, (2, 3, 4, (2, 3)))))
    return mutate.bytes_(rng, good(rng)) if kind == 6 else good(rng)


def make_npz(rng: np.random.Generator, folder: Path) -> str:
    path = folder / "a.npz"
    if rng.random() < 0.03:
        path.write_bytes(pickled(folder))
        return str(path)
    with zipfile.ZipFile(path, "w", mutate.pick(rng, METHODS)) as archive:
        for name in rng.permutation(NAMES)[: int(rng.integers(1, 4))]:
            archive.writestr(
                f"{name}{mutate.pick(rng, ('.npy', '.npy', '.npy', '', '.pkl'))}",
                _member(rng, folder),
            )
    if rng.random() < 0.4:
        path.write_bytes(_central(rng, path.read_bytes()))
    return str(path)


def _central(rng: np.random.Generator, data: bytes) -> bytes:
    """Sizes, methods and flags of the directory at the end, or bytes anywhere."""
    at = data.rfind(b"PK\x01\x02")
    if at < 0 or rng.random() < 0.4:
        return mutate.bytes_(rng, data)
    for _ in range(int(rng.integers(1, 3))):
        offset, code = mutate.pick(
            rng, ((8, "<H"), (10, "<H"), (20, "<I"), (24, "<I"), (28, "<H"), (42, "<I"))
        )
        data = mutate.field(rng, data, at + offset, code)
    return data


TARGETS = (
    Target("npy", make_npy, readers.read, weight=8),
    Target("npz", make_npz, readers.read, weight=8),
)
