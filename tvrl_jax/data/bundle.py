"""The files of one series, or of all slices of one volume: decoded together, stored together."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from tvrl_jax.data import intensity, ledger, packed, readers
from tvrl_jax.data.cohort import Record
from tvrl_jax.data.packed import Entry, Packed, StoreError
from tvrl_jax.data.readers.image import Image, choose_slices
from tvrl_jax.data.sources import Source
from tvrl_jax.errors import UserError
from tvrl_jax.files.claims import check_packed

KERNEL = ("/proc/", "/sys/")
FAINT = 32  # of the 255 steps of a series: an image that has fewer is told
VERSION = 5  # of the decoding: raise it when the same file would give other frames


ONE_EACH = (
    "rows that are joined into a series hold one frame each (data.columns.times is for files with "
    "many)"
)


class Bundle(NamedTuple):
    """Records of the same files; they differ in the slice that they take."""

    records: tuple[Record, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.records[0].sources

    @property
    def slices(self) -> tuple[int, ...] | None:
        """None: every slice of the files."""
        wanted = {record.sources[0].slice for record in self.records}
        return None if None in wanted else tuple(sorted(wanted))


def bundles(records: Iterable[Record]) -> list[Bundle]:
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(source.path for source in record.sources), []).append(record)
    return [Bundle(tuple(group)) for group in groups.values()]


def apart(bundle: Bundle, shelf: "Shelf") -> list[Bundle]:
    """The records whose slice is in every file together, and each of the others alone, to be named
    by its own row. Empty where all slices are there, or a file is of no use at all."""
    try:
        slices = [
            {image.slice or 0 for image in _read(source, shelf, None, len(bundle.sources) > 1)}
            for source in bundle.sources
        ]
    except UserError:
        return []
    there = set.intersection(*slices)
    kept = tuple(record for record in bundle.records if record.sources[0].slice in there)
    alone = [Bundle((record,)) for record in bundle.records if record not in kept]
    return [Bundle(kept), *alone] if kept and alone else alone


class Shelf(NamedTuple):
    """Where decoded frames are kept, and how they are made."""

    where: str  # the cohort's table, for errors
    folder: str
    ledger: ledger.Ledger
    settings: Mapping[str, object]  # keyword arguments of intensity.to_uint8
    skip: bool  # leave out files that cannot be used


def fetch(bundle: Bundle, shelf: Shelf) -> tuple[Packed | None, dict[str, str]]:
    """The bundle's file in the store, decoding it where there is none that is whole, and why
    files were left out: path -> reason (None when all were).

    Raises UserError naming the row, unless bad files are skipped; StoreError for a store that
    cannot be written."""
    bad: dict[str, str] = {}
    digest = {s.path: _attempt(_digest, s, shelf, bad) for s in bundle.sources}
    good = [source for source in bundle.sources if source.path not in bad]
    found = _look_up(_path(good, digest, bundle, shelf), shelf.ledger) if good else None
    if found:
        return found, bad
    images = _read_all(good, shelf, bad, bundle.slices)
    good = [source for source in good if source.path not in bad]
    if not good:
        return None, bad
    path = _path(good, digest, bundle, shelf)
    found = _look_up(path, shelf.ledger)
    if not found:
        series = _series([(s, images[s.path]) for s in good], shelf)
        for source in good:  # not before: some pixels are only mapped, and read just now
            _attempt(_check_same, source, shelf._replace(skip=False), bad, digest[source.path])
        found = _write(path, series, shelf.ledger)
    return found, bad


def _attempt(call, source: Source, shelf: Shelf, bad: dict[str, str], *arguments):
    """The call's result; a bad file is noted in `bad` or raised with its row."""
    try:
        return call(source, shelf, *arguments)
    except UserError as error:
        if not shelf.skip:
            raise UserError(f"{shelf.where}, row {source.row}: {error}") from None
        bad[source.path] = str(error)
        return None


def _digest(source: Source, shelf: Shelf) -> str:
    if not _is_stored(source.path):  # reading may never end
        what = "does not exist" if not os.path.exists(source.path) else "is a pipe or a device"
        raise UserError(f"{source.path} {what}; an image is a file, or a folder of files.")
    try:
        return ledger.content_hash(source.path, shelf.ledger)
    except OSError as error:
        raise UserError(f"{source.path} cannot be read ({error.strerror}).") from None


def _check_same(source: Source, shelf: Shelf, digest: str) -> None:
    """What was exchanged after it was hashed would be stored under the name of what it was."""
    if _digest(source, shelf) != digest:
        raise UserError(
            f"{source.path} was changed while it was read; start again when it is written whole."
        )


def _is_stored(path: str) -> bool:
    """Whether it is a file or a folder of a disk: what the kernel shows of itself is none."""
    if os.path.realpath(path).startswith(KERNEL):
        return False
    return os.path.isfile(path) or os.path.isdir(path)


def _read_all(
    sources: Sequence[Source], shelf: Shelf, bad: dict, slices: Sequence[int] | None
) -> dict[str, list[Image]]:
    """path -> images of what is not bad. They lie in memory together, and are bounded together."""
    images, taken, size = {}, 0, 0
    for source in sources:
        found = _attempt(_read, source, shelf, bad, slices, len(sources) > 1)
        if found is None:
            continue
        images[source.path] = found
        taken += sum(image.frame_THWC.nbytes for image in found)
        size += _size(source.path)
        if len(images) > 1:
            _attempt(_check_room, source, shelf, bad, taken, size)
    return images


def _check_room(source: Source, shelf: Shelf, taken: int, size: int) -> None:
    check_packed(f"the series with {source.path}", taken, size)


def _size(path: str) -> int:
    """Bytes on the disk, of a folder's files together."""
    if os.path.isdir(path):
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return os.path.getsize(path)


def _read(source: Source, shelf: Shelf, slices: Sequence[int] | None, joined: bool) -> list[Image]:
    images = _read_slices(source, slices)
    most = max(len(image.frame_THWC) for image in images)
    if joined and most > 1:
        raise UserError(f"{source.path} holds {most} frames: {ONE_EACH}.")
    settings = {key: shelf.settings[key] for key in ("image_size", "pixel_mm", "fit")}
    for image in images:
        try:
            intensity.place(*image.frame_THWC.shape[1:3], image.spacing_mm, **settings)
        except UserError as error:
            raise UserError(f"{source.path}: {error}") from None
    return images


def _read_slices(source: Source, slices: Sequence[int] | None) -> list[Image]:
    if slices is None:
        return readers.read(source.path)
    if len(slices) == 1:
        return readers.read(source.path, slice=slices[0])
    images = readers.read(source.path)
    return [image for k in slices for image in choose_slices(source.path, images, k)]


def _path(sources: Sequence[Source], digest: dict, bundle: Bundle, shelf: Shelf) -> str:
    content = [digest[source.path] for source in sources]
    key = json.dumps([VERSION, content, bundle.slices, dict(shelf.settings)], sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()
    return os.path.join(shelf.folder, name[:2], f"{name}.frames")


def _look_up(path: str, book: ledger.Ledger) -> Packed | None:
    """A file of the store that is whole; its checksum is read again only after it was touched."""
    found = packed.read_header(path)
    try:
        return found if found and _is_whole(found, book) else None
    except OSError:  # somebody removed it just now
        return None


def _is_whole(found: Packed, book: ledger.Ledger) -> bool:
    seen = ledger.signature(found.path)
    if ledger.recall(book, found.path, seen) == found.crc:
        return True
    whole = packed.is_whole(found)
    if whole:
        ledger.remember(book, found.path, seen, found.crc, settled=0)
    return whole


def _write(path: str, series: list[tuple[Entry, np.ndarray]], book: ledger.Ledger) -> Packed:
    packed.write(path, series)
    found = packed.read_header(path)
    if found is None:
        raise StoreError(f"{path} was removed as soon as it was written: leave data.store alone.")
    with suppress(OSError):  # then it is looked at again
        ledger.remember(book, path, ledger.signature(path), found.crc, settled=0)
    return found


def _series(
    parts: list[tuple[Source, list[Image]]], shelf: Shelf
) -> list[tuple[Entry, np.ndarray]]:
    (first, images), *rest = parts
    for source, others in rest:
        if len(others) != len(images):
            raise UserError(
                f"{shelf.where}, row {source.row}: {source.path} has {len(others)} slices and "
                f"{first.path} (row {first.row}) {len(images)}; choose one by data.columns.slice."
            )
    return [_pack([images[k] for _, images in parts], shelf) for k in range(len(images))]


def _pack(images: Sequence[Image], shelf: Shelf) -> tuple[Entry, np.ndarray]:
    """One series of one or more files."""
    first, *rest = images
    spacings = [image.spacing_mm for image in images]
    stored = intensity.to_uint8([i.frame_THWC for i in images], spacings, **shelf.settings)
    time_s = None if rest or first.time_T is None else tuple(first.time_T.tolist())
    notes = list(dict.fromkeys(image.note for image in images if image.note))
    if shelf.settings["pixel_mm"] and None in spacings:
        notes.append("the file states no pixel size: data.pixel_mm is not applied")
    if not stored.any():
        notes.append("a blank image: every pixel is stored as 0")
    elif rest and min(map(np.ptp, stored)) < FAINT:
        notes.append("one of its images is nearly blank beside the others: are all of one scale?")
    return Entry(first.slice, len(stored), 0, time_s, "; ".join(notes)), stored
