"""results.csv, one measured number a row, and the tables that compare methods."""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tvrl_jax.errors import UserError, nearest, reading
from tvrl_jax.files import whole_file
from tvrl_jax.report import compare, naming, wording
from tvrl_jax.results import COLUMNS, KEY

NUMBERS = ("fraction", "value", "ci_low", "ci_high")


def read_results(path: str | Path) -> list[dict]:
    """The rows of results.csv: fraction, value, ci_low, ci_high float (NaN where empty), n int,
    seed int (or text, where it is no number), the rest text.

    Raises UserError where the file or a column is missing, or a number is none.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; a probe writes it.")
    with (
        reading(str(path), UnicodeDecodeError, csv.Error),
        path.open(newline="", encoding="utf-8") as file,
    ):
        reader = csv.DictReader(file)
        for name in COLUMNS:
            if name not in (reader.fieldnames or ()):
                hint = nearest(name, reader.fieldnames or ())
                raise UserError(f'{path} has no column "{name}".{hint}')
        return [_typed(row, path, number) for number, row in enumerate(reader, 2)]


def _typed(row: dict, path: Path, number: int) -> dict:
    if None in row or None in row.values():
        raise UserError(f"{path} row {number} has another number of cells than the header.")
    typed = {name: row[name] for name in COLUMNS}
    for name in (*NUMBERS, "n"):
        try:
            typed[name] = float(row[name]) if row[name] else math.nan
            if name == "n" and math.isinf(typed[name]):
                raise ValueError("a count is finite")
        except (TypeError, ValueError):
            raise UserError(
                f'{path} row {number}: {name} = "{row[name]}" is not a number.'
            ) from None
    typed["n"] = 0 if math.isnan(typed["n"]) else int(typed["n"])
    typed["seed"] = _seed(row["seed"])
    return typed


def _seed(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text


def write_results(
    path: str | Path, rows: Iterable[Mapping], columns: Sequence[str] = COLUMNS
) -> None:
    """Writes exactly `rows` (dicts with `columns` as keys), replacing the file in one move."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.writing(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(row[name]) for name in columns} for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, float):  # numpy's float64 included; repr round-trips exactly
        return "" if math.isnan(value) else repr(float(value))
    if hasattr(value, "item"):  # numpy's other scalars
        return _cell(value.item())
    return value


def update(path: str | Path, rows: Iterable[Mapping], *, instead_of: str = "") -> list[dict]:
    """Adds `rows` to results.csv; a row that measures the same thing is replaced, in place.

    `instead_of`: a kind of probe, all of whose earlier rows go. Two rows measure the same thing
    when method, cohort, task, probe, fraction, seed and metric agree. Returns all rows of the file,
    as `read_results` does.
    """
    before = read_results(path) if Path(path).is_file() else ()
    merged = {key(row): row for row in before if row["probe"] != instead_of}
    merged |= {key(row): row for row in rows}
    write_results(path, merged.values())
    return read_results(path)


def key(row: Mapping) -> tuple:
    """What `row` measures."""
    return tuple(float(row[k]) if k == "fraction" else str(row[k]) for k in KEY)


def comparison(rows: Sequence[Mapping], unit: str = "") -> str:
    """Aligned text: a table of all methods for each probe and label fraction, with a heading.

    task x method: `value [low, high]`, with a note that says what the marks mean. unit: of the
    horizons, data.time_unit; "" = not known.
    """
    parts = []
    for probe, fraction in compare.settings_of(rows):
        methods = compare.columns_of(rows, probe, fraction)
        lines = compare.compare(rows, methods, fraction, probe=probe)
        table = aligned(*wording.grid(lines, methods))
        note = wording.note(lines)
        heading = wording.heading(probe, fraction)
        parts.append(f"{heading}\n\n{table}" + (f"\n{note}" if note else ""))
    parts += naming.about_horizons((row["metric"] for row in rows), unit)
    return "\n\n".join(parts)


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table for a terminal, its columns padded with blanks."""
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    pad = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, rule, *body)
    ]
    return "\n".join(pad)
