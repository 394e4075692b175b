"""A table and a column mapping -> validated series, not yet decoded."""

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import pandas as pd

from tvrl_jax.data import split as splits
from tvrl_jax.data import table as tables
from tvrl_jax.data import times
from tvrl_jax.data.sources import (
    Skipped,
    Source,
    check_repeats,
    column,
    find_missing,
    place,
    read_sources,
)
from tvrl_jax.data.targets import (
    UNKNOWN,
    Target,
    class_names,
    folded,
    outcomes,
    parse_targets,
    plain,
)
from tvrl_jax.errors import UserError, guess, shorten

LOG = logging.getLogger("tvrl_jax")

# No missing values by themselves, since a class may be called so, but hardly meant as one.
UNKNOWN_WORDS = frozenset({"unknown", "unk", "missing", "not available", "not known", "?", "-"})


class Record(NamedTuple):
    """A series, or all series (slices) of one volume: its files in the order of time."""

    subject: str
    name: str
    split: str
    sources: tuple[Source, ...]
    newest: int  # row of its newest image, whether or not there is its file


class Cohort(NamedTuple):
    where: str  # the table, as errors name it
    records: tuple[Record, ...]
    table: pd.DataFrame  # strings, index = row number
    columns: dict[str, str]  # the mapping
    targets: tuple[Target, ...]
    time_unit: str
    skipped: tuple[Skipped, ...]  # rows whose file does not exist, with on_bad="skip"


def load_cohort(
    *,
    root: str,
    csv: str,
    columns: Mapping[str, str],
    targets: Sequence[str],
    time_unit: str,
    split_fractions: Sequence[float],
    split_seed: int,
    on_bad: str,
    column_unit: str,
    subject_csv: str,
    **_,
) -> Cohort:
    """Reads and checks the table named in config.data; touches no pixel.

    A row is one cine file, unless data.columns.time or data.columns.series is mapped: then the
    rows of one subject and series are one series, sorted by time (ties keep the table's order).
    Every mapped value may be a template of columns, such as "nifti/{subject}_sa.nii.gz".

    Raises:
      UserError: one sentence with file, row and column about anything that is wrong.
    """
    mapping = dict(columns)
    times.check_unit(time_unit, "time_unit")
    unit = times.check_unit(column_unit or time_unit, "column_unit")
    if on_bad not in ("stop", "skip"):
        raise UserError(f'data.on_bad is "{on_bad}": it takes stop or skip.')
    table, where = _read(root, csv, subject_csv, mapping)
    subject_R, series_R = subjects(table, where, mapping), _series(table, where, mapping)
    _warn(table, where, mapping, subject_R, series_R)
    if tables.is_pattern(csv) and mapping["subject"] == tables.OWN_NAME:
        LOG.info(
            '%s: each of its %d files counts as a patient of its own, such as "%s"; where several '
            "are of one, a table must say so, or they may be split.",
            *(where, len(table), subject_R.iloc[0]),
        )
    split_R = _splits(table, where, mapping, subject_R, split_fractions, split_seed)
    _check_outcomes(table, where, mapping)
    parsed = parse_targets(targets, table, where)
    _warn_unknown(table, where, parsed)
    owners = list(zip(subject_R, series_R, strict=True))
    sources = read_sources(table, where, root, mapping, unit, time_unit, owners)
    check_repeats(sources, subject_R, where)
    missing = find_missing(sources, where, mapping, on_bad)
    records = _join(
        sources,
        table.assign(subject=subject_R, split=split_R, series=series_R),
        joined=bool(mapping["time"] or mapping["series"]),
        absent={skipped.row for skipped in missing},
    )
    if not records:
        raise UserError(f"{where}: none of its {len(table)} files exists; check data.root.")
    return Cohort(where, records, table, mapping, parsed, time_unit, missing)


def _read(root: str, csv: str, subject_csv: str, mapping: Mapping[str, str]):
    table, where = tables.read_table(root, csv), tables.find_file(root, csv)
    for noun in ("subject", "path"):
        if not mapping[noun]:
            raise UserError(f"data.columns.{noun} is empty: name the column of {where}.")
    if subject_csv:
        tables.check_column(table, mapping["subject"], where, "data.columns.subject")
        table = tables.join_subjects(table, mapping["subject"], root, subject_csv)
    return table, where


def subjects(table: pd.DataFrame, where: str, mapping: Mapping[str, str]) -> pd.Series:
    """The patient of every row. UserError where one is empty."""
    why = "the subject is empty; every row needs its patient."
    return _filled(table, where, mapping, "subject", why)


def _filled(table, where: str, mapping: Mapping[str, str], noun: str, why: str) -> pd.Series:
    """The cells of a noun. UserError, which ends with `why`, where one is empty, or a cell that a
    template takes up."""
    made_R = column(table, where, mapping, noun)
    for name in tables.fields(mapping[noun], f"data.columns.{noun}"):
        empty_R = table[name].isin(tables.MISSING)
        if empty_R.any():
            row = empty_R.idxmax()
            raise UserError(f"{place(where, row, mapping | {noun: name}, noun)}: {why}")
    return made_R


def _warn(table, where: str, mapping: Mapping[str, str], subject_R, series_R) -> None:
    """Of what is allowed, and yet is hardly meant."""
    used = {name for noun, spec in mapping.items() for name in tables.fields(spec, noun)}
    if "split" in table.columns and not mapping["split"] and "split" not in used:
        LOG.warning(
            '%s: its column "split" is not used, patients are split by a seed; '
            "data.columns.split=split takes it.",
            where,
        )
    _warn_alike([((), name) for name in subject_R.unique()], where, "patients")
    if mapping["series"]:
        pairs = dict.fromkeys(zip(subject_R, series_R, strict=True))
        _warn_alike(pairs, where, "series of a patient")


def _warn_unknown(table: pd.DataFrame, where: str, targets: Iterable[Target]) -> None:
    """Of a class whose name says that there is no value."""
    for cell_R in (table[target.column] for target in targets if target.kind == "classification"):
        for name in class_names(cell_R):
            if name.casefold() in UNKNOWN_WORDS:
                row = cell_R.index[cell_R == name][0]
                LOG.warning(
                    '%s, row %d, column "%s": "%s" is a class like any other; %s.',
                    *(where, row, cell_R.name, name, UNKNOWN),
                )


def _warn_alike(names: Iterable[tuple[object, str]], where: str, what: str) -> None:
    """Of two names of one owner, (owner, name), that differ as 017 and 17.0 do, or a1 and A1, or
    that look alike."""
    seen: dict[tuple, str] = {}
    alike = [
        (other, name)
        for owner, name in names
        if (other := seen.setdefault((owner, folded(plain(name))), name)) != name
    ]
    if alike:
        LOG.warning(
            '%s: "%s" and "%s" are two %s here (and %d more such pairs); spell them alike if they '
            "are one.",
            where,
            *alike[0],
            what,
            len(alike) - 1,
        )


def _series(table: pd.DataFrame, where: str, mapping: Mapping[str, str]) -> pd.Series:
    """The name of a row's series: its own column, else nothing (dated images), else its path."""
    if mapping["series"]:
        why = "a cell of the series is empty, and rows of several might become one; fill it in."
        return _filled(table, where, mapping, "series", why)
    if mapping["time"]:
        return pd.Series("", index=table.index, dtype=str)
    return column(table, where, mapping, "path")


def _splits(table, where, mapping, subject_R, fractions, seed) -> pd.Series:
    fractions = splits.check_fractions(fractions)
    if not mapping["split"]:
        return subject_R.map(splits.seeded_split(subject_R, fractions, seed))
    return named_splits(table, where, mapping, subject_R)


def named_splits(table, where: str, mapping: Mapping[str, str], subject_R) -> pd.Series:
    """The split of every row, from its column. UserError: it is none, or a patient is in two."""
    cell_R = column(table, where, mapping, "split")
    split_R = cell_R.str.lower()
    first: dict[str, tuple[int, str]] = {}
    for row, subject, name in zip(table.index, subject_R, split_R, strict=True):
        if name not in splits.SPLITS:
            raise UserError(
                f'{place(where, row, mapping, "split")}: "{shorten(cell_R[row])}" is no split; '
                f"use train, val or test.{_meant_split(name)}"
            )
        other_row, other = first.setdefault(subject, (row, name))
        if other != name:
            raise UserError(
                f'{where}: patient "{subject}" is in two splits, {other} (row {other_row}) and '
                f"{name} (row {row}); a patient belongs to one."
            )
    return split_R


def _meant_split(name: str) -> str:
    """A hint, or ""; of a word that is the longer form of a split, that split."""
    short = next((split for split in splits.SPLITS if name.startswith(split)), name)
    return guess(short, splits.SPLITS)


def _check_outcomes(table: pd.DataFrame, where: str, mapping: Mapping[str, str]) -> None:
    event_R, duration_R = (column(table, where, mapping, k) for k in ("event", "duration"))
    if (event_R is None) != (duration_R is None):
        absent, there = ("event", "duration")[:: 1 if event_R is None else -1]
        raise UserError(
            f"data.columns.{there} is mapped and data.columns.{absent} is not: map both or neither."
        )
    if event_R is not None:
        outcomes(event_R.rename(mapping["event"]), duration_R.rename(mapping["duration"]), where)


def _join(
    sources: list[Source], table: pd.DataFrame, *, joined: bool, absent: Set[int]
) -> tuple[Record, ...]:
    """Rows -> series, in the table's order; within a series by time, ties in the table's order.
    `absent` rows are left out, and keep their places."""
    groups: dict[tuple, list[Source]] = {}
    named = zip(table.subject, table.series, table.split, strict=True)
    names = dict(zip(table.index, named, strict=True))
    for source in sources:
        subject, series, split = names[source.row]
        own = source.slice if joined else source.row
        groups.setdefault((subject, series, split, own), []).append(source)
    records = []
    for (subject, series, split, _), group in groups.items():
        order = _in_order(group)
        kept = tuple(source for source in order if source.row not in absent)
        if kept:
            records.append(Record(subject, series, split, kept, order[-1].row))
    return tuple(records)


def _in_order(group: list[Source]) -> list[Source]:
    order = sorted(group, key=lambda source: 0.0 if source.time is None else source.time)
    return [source._replace(position=k) for k, source in enumerate(order)]
