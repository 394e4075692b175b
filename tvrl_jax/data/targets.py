"""What can be learned about a series: numbers, classes, and time to an event."""

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from tvrl_jax.data.table import MISSING, check_column, marks_hint, number
from tvrl_jax.errors import UserError, nearest, shorten

KINDS = ("regression", "classification")
INEXACT = 2**53  # from here on, two whole numbers may be one float
LARGEST = float(np.finfo(np.float32).max)  # what labels are kept in
UNKNOWN = "leave the cell empty where the value is unknown"


class Target(NamedTuple):
    column: str
    kind: str


def parse_targets(specs: Iterable[str], table: pd.DataFrame, where: str) -> tuple[Target, ...]:
    """ "COLUMN:regression" or "COLUMN:classification" -> Target; every value is checked.

    A column is named once: it would count twice in a loss, and as two tasks of a probe.
    """
    targets = []
    for spec in specs:
        column, mark, kind = str(spec).rpartition(":")
        if not mark or not column or kind not in KINDS:
            raise UserError(
                f'data.targets has "{spec}": write "COLUMN:regression" or '
                f'"COLUMN:classification".{nearest(kind, KINDS) if mark else ""}'
            )
        if column in (target.column for target in targets):
            raise UserError(f'data.targets names "{column}" twice; name it once.')
        check_column(table, column, where, "data.targets")
        if kind == "regression":
            words = f'{UNKNOWN}, or take classes, "{column}:classification"'
            numbers(table[column], where, words)
        else:
            _check_spelling(table[column], where)
        targets.append(Target(column, kind))
    return tuple(targets)


def labels(target: Target, table: pd.DataFrame, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Float64 of every row, NaN where the cell is missing: numbers, or positions in the names of
    the classes; and these names, () for a regression."""
    cell_R = table[target.column]
    if target.kind == "regression":
        return numbers(cell_R, where), ()
    names = class_names(cell_R)
    return class_codes(cell_R, names), names


def numbers(cell_R: pd.Series, where: str, remedy: str = UNKNOWN) -> np.ndarray:
    """Float64, NaN where a cell is missing; UserError, which ends with the remedy, for text and
    infinite values."""
    value_R = np.full(len(cell_R), np.nan)
    for k, (row, text) in enumerate(cell_R.items()):
        if text in MISSING:
            continue
        try:
            value_R[k] = number(text)
        except ValueError:
            hint = marks_hint(text) or remedy
            raise UserError(
                f'{where}, row {row}, column "{cell_R.name}": "{shorten(text)}" is not a number; '
                f"{hint}."
            ) from None
        if abs(value_R[k]) > LARGEST:
            raise UserError(
                f'{where}, row {row}, column "{cell_R.name}": "{shorten(text)}" is more than '
                f"{LARGEST:.1e}, the most that a label can be; take a larger unit."
            )
    return value_R


def class_names(cell_R: pd.Series) -> tuple[str, ...]:
    """The classes of a column. When all are numbers, equal ones are one class ("1" and "1.0"), in
    numerical order; else they are texts, in ASCII order."""
    texts = {text for text in cell_R if text not in MISSING}
    try:
        return tuple(sorted(sorted({plain(text) for text in texts}), key=number))
    except ValueError:
        return tuple(sorted(texts))


def _check_spelling(cell_R: pd.Series, where: str) -> None:
    """UserError for two classes that differ in capitals or blanks alone: they are meant as one."""
    seen: dict[str, str] = {}
    for name in class_names(cell_R):
        other = seen.setdefault(folded(name), name)
        if other == name:
            continue
        rows = [cell_R.index[cell_R == spelling][0] for spelling in (other, name)]
        raise UserError(
            f'{where}, column "{cell_R.name}": "{shorten(other)}" (row {rows[0]}) and '
            f'"{shorten(name)}" (row {rows[1]}) would be two classes; spell them alike, or give '
            "them names that differ in more than capitals and blanks."
        )


def folded(text: str) -> str:
    """Equal for two names that look alike: in capitals, blanks, or what a screen does not show (an
    accent of its own character, a mark of no width)."""
    seen = [c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf"]
    return " ".join("".join(seen).casefold().split())


def plain(text: str) -> str:
    """The name of a class or patient that is a number, however it is written: "1" of "1.0"."""
    try:
        value = number(text)
    except ValueError:
        return text
    if abs(value) >= INEXACT:
        return text
    return str(int(value)) if value.is_integer() else str(value)


def class_codes(cell_R: pd.Series, names: tuple[str, ...]) -> np.ndarray:
    """Float64 position in `names`, NaN where a cell is missing."""
    code = {name: float(k) for k, name in enumerate(names)}
    found = [code.get(text, code.get(plain(text), np.nan)) for text in cell_R]
    return np.array(found, np.float64)


def outcomes(event_R: pd.Series, duration_R: pd.Series, where: str) -> np.ndarray:
    """Float64 [rows, 2] (event 0 or 1, duration >= 0); both or neither may be missing."""
    remedy = f"write 1 (observed) or 0 (censored), and {UNKNOWN}"
    pair_R2 = np.stack([numbers(event_R, where, remedy), numbers(duration_R, where)], axis=1)
    for row, (event, duration) in zip(event_R.index, pair_R2, strict=True):
        if np.isnan(event) != np.isnan(duration):
            raise UserError(
                f"{where}, row {row}: event and duration go together; fill in both or neither."
            )
        if not np.isnan(event) and event not in (0.0, 1.0):
            raise UserError(
                f'{where}, row {row}, column "{event_R.name}": event is {event:g}; '
                "it must be 1 (observed) or 0 (censored)."
            )
        if duration < 0:
            raise UserError(
                f'{where}, row {row}, column "{duration_R.name}": duration is {duration:g}; '
                "it counts from the series' end and cannot be negative."
            )
    return pair_R2
