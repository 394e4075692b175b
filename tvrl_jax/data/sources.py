"""A row of the table -> its file, with the times and the slice that the row states."""

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import pandas as pd

from tvrl_jax.data import table as tables
from tvrl_jax.data import times
from tvrl_jax.errors import UserError, shorten

DAYS = (
    'days (data.column_unit="days") since the patient\'s first image, with pandas '
    "(pd.to_datetime({}).dt.normalize() - first).dt.days"
)


class Source(NamedTuple):
    """A row's file. `time` is the row's (one image), `times` those of the file's frames; both are
    in data.time_unit, None where the table has none."""

    row: int  # in the table's file; the header is row 1
    path: str  # absolute
    time: float | None
    times: tuple[float, ...] | None
    slice: int | None  # None: all
    position: int = 0  # among the rows of its series, those that cannot be read included


class Skipped(NamedTuple):
    row: int
    path: str
    reason: str


def column(table: pd.DataFrame, where: str, mapping: Mapping[str, str], noun: str):
    """The cells mapped to `noun`, or None."""
    return tables.cells(table, mapping[noun], where, f"data.columns.{noun}")


def place(where: str, row: int, mapping: Mapping[str, str], noun: str) -> str:
    return f'{where}, row {row}, column "{mapping[noun]}"'


def read_sources(
    table: pd.DataFrame,
    where: str,
    root: str,
    mapping: Mapping[str, str],
    unit: str,
    time_unit: str,
    series_R: Sequence[Hashable],
) -> list[Source]:
    """One Source per row; the table's times are in `unit`, the result's in `time_unit`.

    series_R: the series of each row, from whose first image dates count."""
    if mapping["time"] and mapping["times"]:
        raise UserError(
            "map data.columns.time (a time for each row) or data.columns.times (all times of a "
            "row's file), not both."
        )

    def frame_times(text: str) -> tuple[float, ...]:
        return tuple(times.convert(times.parse_times(text), unit, time_unit).tolist())

    path_R = column(table, where, mapping, "path")
    last = tables.fields(mapping["path"], "data.columns.path")[-1:]
    for row, path in path_R.items():
        # A template may end in an empty cell, "{name}{suffix}", and then still names a file.
        folder = path.endswith(os.sep) and any(table[name][row] in tables.MISSING for name in last)
        if path in tables.MISSING or folder:
            raise UserError(f"{place(where, row, mapping, 'path')}: the path is empty.")
    time_R = _dated(table, where, mapping, unit, time_unit, series_R)
    if time_R is None:
        _check_dates(table, where, mapping, "time", unit)
        time_R = _parsed(table, where, mapping, "time", lambda text: _one(frame_times(text)))
    _check_dates(table, where, mapping, "times", unit)
    times_R = _parsed(table, where, mapping, "times", frame_times)
    slice_R = _parsed(table, where, mapping, "slice", _slice)
    return [
        Source(int(row), os.path.normpath(tables.find_file(root, path)), *values)
        for (row, path), *values in zip(path_R.items(), time_R, times_R, slice_R, strict=True)
    ]


def _dated(
    table: pd.DataFrame,
    where: str,
    mapping: Mapping[str, str],
    unit: str,
    time_unit: str,
    series_R: Sequence[Hashable],
) -> list[float] | None:
    """The times of rows whose cells are dates, since the earliest row of their series; None where
    no cell is one."""
    text_R = column(table, where, mapping, "time")
    if text_R is None or not (date_R := text_R.map(times.is_date)).any():
        return None
    row = date_R.idxmax()
    first = f'{place(where, row, mapping, "time")}: "{text_R[row]}" is a date'
    for key, given in (("time_unit", time_unit), ("column_unit", unit)):
        if given not in times.CALENDAR:
            raise UserError(
                f'{first}, and data.{key} is "{given}": set it to days, months or years.'
            )
    if not date_R.all():
        other = (~date_R).idxmax()
        raise UserError(
            f'{place(where, other, mapping, "time")}: "{shorten(text_R[other])}" is no date, and '
            f'"{text_R[row]}" (row {row}) is one; write every cell as YYYY-MM-DD, or every one as '
            "a number."
        )
    moment_R = [_moment(text, place(where, r, mapping, "time")) for r, text in text_R.items()]
    return _since_first(moment_R, series_R, time_unit)


def _moment(text: str, found: str) -> datetime:
    try:
        return times.parse_date(text)
    except ValueError:
        raise UserError(f'{found}: "{text}" is no day or no time of day; correct it.') from None


def _since_first(
    moment_R: Sequence[datetime], series_R: Sequence[Hashable], time_unit: str
) -> list[float]:
    rows: dict[Hashable, list[int]] = {}
    for k, series in enumerate(series_R):
        rows.setdefault(series, []).append(k)
    day_R = np.zeros(len(moment_R))
    for own in rows.values():
        day_R[own] = times.days_since_first(moment_R[k] for k in own)
    return times.convert(day_R, "days", time_unit).tolist()


def _check_dates(
    table: pd.DataFrame, where: str, mapping: Mapping[str, str], noun: str, unit: str
) -> None:
    text_R = column(table, where, mapping, noun)
    if text_R is None:
        return
    given_R = text_R[~text_R.isin(tables.MISSING)]
    form = times.find_form(given_R, unit)
    if form:
        first = given_R[given_R.map(form.has)]
        found = f'{place(where, first.index[0], mapping, noun)}: "{shorten(first.iloc[0])}"'
        raise UserError(
            f"{found} looks like a calendar date ({form.name}), and no number of {unit}; "
            f"{'write it as YYYY-MM-DD, or ' * (noun == 'time')}give {DAYS.format(form.pandas)}."
        )


def _one(values: tuple[float, ...]) -> float:
    (value,) = values
    return value


def _slice(text: str) -> int | None:
    if text == "":
        return None
    number = tables.number(text)
    if number < 0 or number != int(number):
        raise ValueError("not a slice number")
    return int(number)


WANTED = {
    "time": (
        "the time must be one number, or in every row a date written YYYY-MM-DD, as pandas writes "
        'pd.to_datetime(t, format="%d.%m.%Y")'
    ),
    "times": (
        "the times must be numbers separated by spaces, and of dates the days since the first"
    ),
    "slice": "the slice must be a whole number, counted from 0",
}


def _parsed(
    table: pd.DataFrame, where: str, mapping: Mapping[str, str], noun: str, parse: Callable
) -> list:
    text_R = column(table, where, mapping, noun)
    if text_R is None:
        return [None] * len(table)
    values = []
    for row, text in text_R.items():
        try:
            values.append(parse(text))
        except (ValueError, OverflowError):
            raise UserError(
                f'{place(where, row, mapping, noun)}: "{shorten(text)}" cannot be '
                f"used; {_comma_hint(text, noun) or WANTED[noun]}."
            ) from None
    return values


def _comma_hint(text: str, noun: str) -> str:
    if noun != "times":
        return tables.marks_hint(text)
    points = times.pointed(text)
    if not points:
        return ""
    return f'write "{shorten(points)}", with points, or the same mark between all of them'


def find_missing(
    sources: Iterable[Source], where: str, mapping: Mapping[str, str], on_bad: str
) -> tuple[Skipped, ...]:
    """The rows whose file does not exist; UserError for the first one unless they are skipped."""
    missing = []
    for source in sources:
        if os.path.exists(source.path):
            continue
        if on_bad == "stop":
            shown = shorten(source.path, 300)
            raise UserError(
                f"{place(where, source.row, mapping, 'path')}: {shown} does not exist; "
                'correct the path or data.root, or set data.on_bad="skip" to leave such rows out.'
            )
        missing.append(Skipped(source.row, source.path, "the file does not exist"))
    return tuple(missing)


def check_repeats(sources: Sequence[Source], subjects: Iterable[str], where: str) -> None:
    """No image twice: neither for two patients (a leak) nor for one (it would count double), nor in
    a folder that is a row beside it. A link is the file or folder that it leads to."""
    real_R = _real_paths(sources)
    owner: dict[str, tuple[Source, str]] = {}
    seen: dict[str, dict[int | None, int]] = {}
    for source, subject, real in zip(sources, subjects, real_R, strict=True):
        first, other = owner.setdefault(real, (source, subject))
        linked = "" if first.path == source.path else f" (the same as {first.path})"
        if other != subject:
            raise UserError(
                f'{where}, row {source.row}: {source.path}{linked} belongs to patient "{subject}" '
                f'here and to "{other}" in row {first.row}; one of the two is wrong.'
            )
        slices = seen.setdefault(real, {})
        if slices and (source.slice is None or source.slice in slices or None in slices):
            row = slices.get(source.slice, min(slices.values()))
            raise UserError(
                f"{where}, row {source.row} repeats row {row} with {source.path}{linked}; "
                "remove one of them."
            )
        slices[source.slice] = source.row
    _check_folders(sources, real_R, where)


def _real_paths(sources: Iterable[Source]) -> list[str]:
    """The files' paths without links. Each file and each folder is looked at once: a table may have
    100,000 rows, and a look at a distant disk take a millisecond."""
    known = {"/": "/", "//": "/"}  # a root may be written as two
    return [_real_path(source.path, known) for source in sources]


def _real_path(path: str, known: dict[str, str]) -> str:
    """Of an absolute path. `known`, of its folders and others, grows."""
    ahead = [path, *takewhile(lambda folder: folder not in known, _above(path))]
    real = known[os.path.dirname(ahead[-1])]
    for step in reversed(ahead):
        real = os.path.join(real, os.path.basename(step))
        if os.path.islink(real):
            real = os.path.realpath(real)
        known[step] = real
    return real


def _check_folders(sources: Sequence[Source], real_R: Sequence[str], where: str) -> None:
    rows = {real: source.row for source, real in zip(sources, real_R, strict=True)}
    clear: set[str] = set()  # folders that are no rows, nor is any above them
    for source, real in zip(sources, real_R, strict=True):
        for folder in _above(real):
            if folder in clear:
                break
            if folder in rows:
                raise UserError(
                    f"{where}, row {source.row}: {source.path} lies in {folder}, the folder of row "
                    f"{rows[folder]}, and would be used twice; name the folders alone, as the "
                    'pattern "*/" does, or the files alone, as "**/*.dcm" does.'
                )
            clear.add(folder)


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in, the nearest first."""
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder
