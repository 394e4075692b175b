"""Where Pillow makes other pixels of a TIFF than the file holds: mended before it loads a page, or
refused."""

import os
from typing import IO

from PIL import Image as Picture
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    FILLORDER,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILEOFFSETS,
)

from tvrl_jax.data.readers import jpeg
from tvrl_jax.errors import UserError
from tvrl_jax.files.claims import check_claim

JPEG = (6, 7)  # the old and the new kind
# Big-endian numbers, and the same in the machine's order: libtiff has turned them already.
NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


def prepare(path: str, page: Picture.Image, file: IO[bytes]) -> None:
    """Asked before Pillow loads the page. UserError for a page that it would fill or garble."""
    _check_planes(path, page)
    if page.tag_v2.get(COMPRESSION) in JPEG:
        _check_ends(path, page, file)
    page.tile = [_in_native_order(tile) for tile in page.tile]


def _in_native_order(tile):
    """Pillow says so itself of unsigned 16-bit numbers, and forgets the others."""
    if tile[0] != "libtiff":
        return tile
    kind, *more = tile[3]
    return tile._replace(args=(NATIVE.get(kind, kind), *more))


def _check_planes(path: str, page: Picture.Image) -> None:
    """Of unpacked planes, one behind the other, Pillow keeps the first letter of what the numbers
    are: bytes, or numbers of 32 bits in the machine's own order."""
    tags = page.tag_v2
    if tags.get(PLANAR_CONFIGURATION) != 2 or any(tile[0] == "libtiff" for tile in page.tile):
        return
    bits = set(tags.get(BITSPERSAMPLE, (1,)))
    whole = bits == {8} and tags.get(PHOTOMETRIC_INTERPRETATION) != 0  # white as 0 is turned
    whole = whole or (bits == {32} and tags.prefix == b"II")
    if not whole or tags.get(FILLORDER, 1) != 1:
        raise UserError(
            f"{path} holds unpacked planes of {max(bits)} bits (PlanarConfiguration 2), which "
            "would be read as other numbers: save it with PlanarConfiguration 1, or packed."
        )


def _check_ends(path: str, page: Picture.Image, file: IO[bytes]) -> None:
    """Decoders fill what is missing of a strip or tile with grey, and say nothing."""
    tags, size = page.tag_v2, os.fstat(file.fileno()).st_size
    tiled = TILEOFFSETS in tags
    offsets, counts = (
        tags[key]
        for key in ((TILEOFFSETS, TILEBYTECOUNTS) if tiled else (STRIPOFFSETS, STRIPBYTECOUNTS))
    )
    pieces = sorted(set(zip(offsets, counts, strict=True)))
    check_claim(path, sum(count for _, count in pieces), size)
    for offset, count in pieces:
        if not jpeg.is_whole(os.pread(file.fileno(), count, offset)):  # the file stays where it is
            raise UserError(
                f"{path} cannot be read: its {'tile' if tiled else 'strip'} at byte {offset} is "
                "packed as JPEG and has no end: it is damaged or cut short."
            )
