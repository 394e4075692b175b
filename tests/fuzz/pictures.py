"""Damaged PNG, JPEG, TIFF, GIF, WebP and BMP files, and files of other kinds in their place."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from tvrl_jax.data import readers

from . import mutate
from .law import Target, marker, pickled

KINDS = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "gif": "GIF", "webp": "WEBP", "bmp": "BMP"}
SIDES = (1, 2, 1000, 10_000, 16_000, 65_535, 100_000, 2**31 - 1)


def good(rng: np.random.Generator, kind: str, pages: int = 1) -> bytes:
    mode = (
        mutate.pick(rng, ("L", "RGB"))
        if kind in ("JPEG", "WEBP", "GIF")
        else mutate.pick(rng, ("L", "RGB", "1", "P", "I;16"))
    )
    if mode == "I;16" and kind not in ("PNG", "TIFF"):
        mode = "L"
    first = Picture.fromarray(rng.integers(0, 256, (9, 8, 3)).astype(np.uint8))
    if mode == "I;16":
        first = Picture.fromarray(rng.integers(0, 60000, (9, 8)).astype(np.uint16))
    else:
        first = first.convert(mode)
    more = {"save_all": True, "append_images": [first] * (pages - 1)} if pages > 1 else {}
    if kind == "TIFF":
        more["compression"] = mutate.pick(rng, (None, "tiff_lzw", "tiff_deflate", "packbits"))
        if more["compression"] is None:
            del more["compression"]
    file = io.BytesIO()
    first.save(file, kind, **more)
    return file.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_any_size(rng: np.random.Generator) -> bytes:
    width, height = (int(mutate.pick(rng, SIDES)) for _ in range(2))
    depth, colour = mutate.pick(rng, ((1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 6)))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(int(rng.integers(1, 24)) << 20), 1) if rng.random() < 0.1 else b"x"
    parts = [_chunk(b"IHDR", head), _chunk(b"IDAT", body), _chunk(b"IEND", b"")]
    if rng.random() < 0.1:
        parts.insert(1, _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20), 1)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff_of_tags(rng: np.random.Generator) -> bytes:
    """Directories with numbers of their own; the next one may be an earlier one."""
    width, height = (int(mutate.pick(rng, SIDES[:6])) for _ in range(2))
    count = int(mutate.pick(rng, (1, 1, 3, 100)))
    kind = int(mutate.pick(rng, (1, 5, 8, 32773, 7, 34712, 65000)))
    depth = int(mutate.pick(rng, (1, 8, 16, 32)))
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, depth),
            (259, 3, 1, kind), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height),
            (279, 4, 1, int(mutate.pick(rng, (8, 2**31, 2**32 - 1))))]  # fmt: skip
    tags += [
        (
            int(rng.integers(254, 340)),
            int(rng.integers(0, 14)),
            int(mutate.pick(rng, mutate.SIZES)) % 2**32,
            0,
        )
    ] * int(rng.integers(0, 2))
    size, start, found = 2 + 12 * len(tags) + 4, 8, b""
    for n in range(count):
        following = (
            start + size * (n + 1)
            if n < count - 1
            else int(mutate.pick(rng, (0, start, start, 7, 2**32 - 1)))
        )
        found += struct.pack("<H", len(tags)) + b"".join(
            struct.pack("<HHII", *tag) for tag in sorted(tags)
        )
        found += struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", start) + found + rng.bytes(100)


def _postscript(folder: Path) -> bytes:
    """Some libraries hand this to a program of its own."""
    return (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
        b"(" + str(marker(folder)).encode() + b") (w) file closefile showpage\n%%EOF\n"
    )


def make(rng: np.random.Generator, folder: Path) -> str:
    suffix, draw = mutate.pick(rng, tuple(KINDS)), rng.random()
    if draw < 0.08:
        data, suffix = png_of_any_size(rng), mutate.pick(rng, ("png", "jpg"))
    elif draw < 0.2:
        data, suffix = tiff_of_tags(rng), "tif"
    elif draw < 0.22:
        data = mutate.pick(
            rng, (_postscript(folder), pickled(folder), b"", b"\x89PNG\r\n\x1a\n", b"P5 9 9 255\n")
        )
    else:
        pages = int(mutate.pick(rng, (1, 1, 3))) if KINDS[suffix] in ("TIFF", "GIF", "WEBP") else 1
        data = good(rng, KINDS[suffix], pages)
        data = mutate.bytes_(rng, data) if rng.random() < 0.95 else data
    if suffix == "png" and rng.random() < 0.5:
        data = _mended(data)
    if suffix == "gif" and rng.random() < 0.3:
        data = mutate.field(rng, data, int(mutate.pick(rng, (6, 8))), "<H")
    if suffix == "bmp" and rng.random() < 0.3:
        data = mutate.field(rng, data, int(mutate.pick(rng, (10, 14, 18, 22, 28, 30))), "<I")
    path = folder / f"a.{suffix}"
    path.write_bytes(data)
    return str(path)


def _mended(data: bytes) -> bytes:
    """PNG checksums that fit again, so that damage goes deeper."""
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        if at + 12 + size > len(data):
            break
        parts.append(_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return b"".join(parts) + data[at:]


TARGETS = (Target("pictures", make, readers.read, weight=14),)
