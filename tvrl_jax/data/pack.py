"""Decodes every file once, into a store of uint8 frames that all runs share.

A file of the store is named by the content of its sources and by the settings that matter. So an
interrupted packing goes on where it stopped, two processes may pack at once, and a changed image
is simply another one. Times are not part of it: correcting them in the table repacks nothing.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from tvrl_jax.data import intensity, ledger
from tvrl_jax.data import table as tables
from tvrl_jax.data.bundle import ONE_EACH, Bundle, Shelf, apart, bundles, fetch
from tvrl_jax.data.cohort import Cohort, Record, load_cohort
from tvrl_jax.data.packed import Entry, Packed, StoreError
from tvrl_jax.data.sources import Skipped, Source
from tvrl_jax.data.store import Place, SeriesInfo, Store
from tvrl_jax.data.times import series_times
from tvrl_jax.errors import UserError
from tvrl_jax.files import whole_file


class Series(NamedTuple):
    info: SeriesInfo
    place: Place
    rows: list[int]  # of the table, in the order of time: the last one speaks for the series
    note: str


def open_store(
    *,
    store: str,
    threads: int,
    on_bad: str,
    frame_interval: float,
    image_size: int,
    channels: int,
    pixel_mm: float,
    fit: str,
    percentiles: Sequence[float],
    **table,
) -> Store:
    """The cohort of config.data, decoding what the store does not hold yet.

    Raises:
      UserError: one sentence naming table, row, file and what is wrong; with on_bad="skip", rows
        whose files cannot be used are counted and listed in `skipped` instead.
    """
    settings = dict(image_size=image_size, channels=channels, pixel_mm=pixel_mm, fit=fit)
    settings["percentiles"] = tuple(float(p) for p in percentiles)
    intensity.check_settings(**settings)
    cohort = load_cohort(on_bad=on_bad, **table)
    folder = os.path.abspath(os.path.expanduser(store))
    for shard in Path(folder).glob("*/"):
        whole_file.sweep(shard)
    book_path = _book_path(folder, cohort)
    shelf = Shelf(cohort.where, folder, ledger.load(book_path), settings, on_bad == "skip")
    clock = dict(time_unit=cohort.time_unit, frame_interval=frame_interval)
    try:
        found = _run(partial(_open, shelf, clock), bundles(cohort.records), threads)
    finally:
        ledger.save(book_path, shelf.ledger)
    series = [one for several, _ in found for one in several]
    skipped = [*cohort.skipped, *(one for _, several in found for one in several)]
    return _store(cohort, series, sorted(skipped), image_size, channels)


def _book_path(folder: str, cohort: Cohort) -> str:
    name = hashlib.sha256(cohort.where.encode()).hexdigest()[:16]
    return os.path.join(folder, "known", f"{name}.json")


def _run(job: Callable, bundles: list[Bundle], threads: int) -> list:
    """In the bundles' order; the first error stops what has not started."""
    pool = ThreadPoolExecutor(max(1, threads))
    every = 0.2 if sys.stderr.isatty() else 10.0  # seconds: a log file needs no animation
    bar = tqdm(total=len(bundles), desc="packing", unit="file", delay=1, mininterval=every)
    try:
        with bar:
            return [(result, bar.update())[0] for result in pool.map(job, bundles)]
    finally:
        pool.shutdown(cancel_futures=True)


def _open(shelf: Shelf, clock: dict, bundle: Bundle) -> tuple[list[Series], list[Skipped]]:
    """A bundle's series, and the rows that were left out."""
    failure = None
    try:
        found, bad = fetch(bundle, shelf)
    except StoreError:
        raise
    except UserError as error:
        failure = error
        found, bad = None, {source.path: str(error) for source in bundle.sources}
    parts = apart(bundle, shelf) if bad and len(bundle.records) > 1 else []
    if parts:
        return _merged(_open(shelf, clock, part) for part in parts)
    if failure and not shelf.skip:
        raise failure
    series, skipped = [], []
    for record in bundle.records:
        skipped += [Skipped(s.row, s.path, bad[s.path]) for s in record.sources if s.path in bad]
        kept = [source for source in record.sources if source.path not in bad]
        if not kept:
            continue
        try:
            series += _series(record, kept, found, clock)
        except UserError as error:
            reason = f"{shelf.where}, row {kept[0].row}: {kept[0].path}: {error}"
            if not shelf.skip:
                raise UserError(reason) from None
            skipped += [Skipped(source.row, source.path, str(error)) for source in kept]
    return series, skipped


def _merged(parts: Iterable[tuple[list, list]]) -> tuple[list[Series], list[Skipped]]:
    series, skipped = zip(*parts, strict=True)
    return [*chain.from_iterable(series)], [*chain.from_iterable(skipped)]


def _series(record: Record, kept: list[Source], found: Packed, clock: dict) -> list[Series]:
    """The series of one record: one, or one for each slice."""
    wanted = kept[0].slice
    return [
        Series(
            SeriesInfo(
                id=_name(record, entry),
                subject=record.subject,
                split=record.split,
                row=kept[0].row,
                frames=entry.frames,
                time_T=_times(kept, entry, clock),
                slice=entry.slice,
                lost=None if kept[-1].row == record.newest else record.newest,
            ),
            Place(found.path, found.start + entry.offset),
            [source.row for source in kept],
            entry.note,
        )
        for entry in found.entries
        if wanted is None or entry.slice == wanted
    ]


def _name(record: Record, entry: Entry) -> str:
    parts = [record.subject, record.name, "" if entry.slice is None else f"slice{entry.slice}"]
    return "/".join(part for part in parts if part)


def _times(kept: list[Source], entry: Entry, clock: dict) -> np.ndarray:
    dated = kept[0].time is not None
    if (dated or len(kept) > 1) and entry.frames != len(kept):
        raise UserError(f"its series has {entry.frames} frames in {len(kept)} rows: {ONE_EACH}.")
    given = [source.time for source in kept] if dated else kept[0].times
    number = [source.position for source in kept] if entry.frames == len(kept) else None
    return series_times(given, entry.time_s, entry.frames, **clock, number_T=number)


def _store(
    cohort: Cohort, series: list[Series], skipped: list[Skipped], image_size: int, channels: int
) -> Store:
    if not series:
        raise UserError(
            f"{cohort.where}: all rows were skipped, the first one: {skipped[0].reason}"
        )
    store = Store(
        series=[one.info for one in series],
        places=[one.place for one in series],
        table=cohort.table.loc[[one.rows[-1] for one in series]],
        older=_older(cohort, series),
        where=cohort.where,
        columns=cohort.columns,
        known_targets=cohort.targets,
        time_unit=cohort.time_unit,
        image_size=image_size,
        channels=channels,
        skipped=skipped,
        notes=_counted(series),
    )
    store.notes += tuple(filter(None, [store.lost_note()]))
    _say(store)
    return store


def _older(cohort: Cohort, series: list[Series]) -> pd.DataFrame:
    """What the rows of the series' older images say of labels and outcomes; index = the series'."""
    mapped = (cohort.columns["event"], cohort.columns["duration"])
    names = [name for spec in mapped if spec for name in tables.fields(spec, "data.columns")]
    columns = list(dict.fromkeys([*(target.column for target in cohort.targets), *names]))
    pairs = [(one.info.id, row) for one in series for row in one.rows[:-1]]
    found = cohort.table.loc[[row for _, row in pairs], columns]
    return found.set_axis([name for name, _ in pairs])


def _counted(series: Iterable[Series]) -> tuple[str, ...]:
    first: dict[str, list[int]] = {}
    for one in series:
        first.setdefault(one.note, []).append(one.info.row)
    return tuple(
        f"{note} ({len(rows)} series, the first in row {rows[0]})"
        for note, rows in first.items()
        if note
    )


def _say(store: Store) -> None:
    for note in store.notes:
        tqdm.write(f"note: {note}", file=sys.stderr)
    if store.skipped:
        row, path, reason = store.skipped[0]
        tqdm.write(
            f"left out {len(store.skipped)} of the rows of {store.where}; the first is row {row}, "
            f"{path}: {reason}",
            file=sys.stderr,
        )
