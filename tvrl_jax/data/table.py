"""The cohort's table: strings as they stand in the file, numbered like its rows."""

import csv
import glob
import math
import os
import re
import string
from collections.abc import Iterable

import pandas as pd

from tvrl_jax.errors import UserError, guess, nearest, shorten

# As written by people, pandas, R, SQL, Excel and C. "None" may be a class (no finding).
MISSING = frozenset({"", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "<NA>", "N/A", "n/a", "null"})
MISSING |= {"NULL", "NaT", "#N/A", "#N/A N/A", "#NA"}
MISSING |= {"1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
# A 0 begins no thousands: 0,800 is less than 1.
THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")
THOUSANDS_BY_POINT = re.compile(r"[-+]?[1-9][0-9]{0,2}(\.[0-9]{3})+(,[0-9]*)?")
TAB = "\t"
OTHERS = ";|" + TAB  # separators that are written, too, and seldom in a name
LONGEST_HEADER = 1 << 20  # characters: more are no names
OWN_NAME = "subject"  # column of a list of files: what tells a file from the others
ROW = "csv row"  # name of the index: the header is row 1


def find_file(root: str, name: str) -> str:
    """An absolute path as it is; any other below `root`."""
    return os.path.join(os.path.abspath(os.path.expanduser(root)), os.path.expanduser(name))


def is_text(name: str) -> bool:
    """Whether UTF-8 can hold it: what the system hands over may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_table(root: str, name: str) -> pd.DataFrame:
    """All cells as strings, index = row number in the file. A name with * or ? lists files.

    Raises UserError for a table that is missing, empty, without rows, ragged or not text."""
    if not name:
        raise UserError("data.csv is not given: name the cohort's table, relative to data.root.")
    path = find_file(root, name)
    if not is_text(path):
        raise UserError(f"{path} is not UTF-8 text: rename the folder or file.")
    if is_pattern(name):
        return _list_files(root, os.path.expanduser(name))
    if not os.path.isfile(path):
        wrong = "is no file" if os.path.exists(path) else "does not exist"
        raise UserError(
            f"{path} {wrong}: set data.root and data.csv to the cohort's table.{_instead(path)}"
        )
    header, *records = _read_records(path)
    rows = {row: cells for row, cells in enumerate(records, start=2) if any(cells)}
    if not rows:
        raise UserError(f"{path} has a header and no rows: one row per cine or dated image.")
    _check_shape(path, header, rows)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=header, dtype=str)
    return table.rename_axis(index=ROW)


def _instead(path: str) -> str:
    """What there is in place of a file that is not there."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        return f" There is no folder {folder}."
    return guess(name, os.listdir(folder))


def is_pattern(name: str) -> bool:
    """Whether it lists files instead of naming a table."""
    return any(mark in name for mark in "*?")


def _list_files(root: str, pattern: str) -> pd.DataFrame:
    """Each file found is a row: its path, its name as the subject, and its folder's name."""
    folder = find_file(root, "")
    found = sorted(glob.glob(pattern, root_dir=folder, recursive=True))
    found = [name.rstrip(os.sep) for name in found]
    if not found:
        deeper = "" if "**" in pattern else f', or write "**/{pattern}" for folders below it'
        raise UserError(f'data.csv="{pattern}" finds nothing in {folder}: check data.root{deeper}.')
    odd = next((name for name in found if not is_text(name)), None)
    if odd is not None:
        raise UserError(
            f'{os.path.join(folder, odd)}: this name, found by data.csv="{pattern}", is not UTF-8 '
            "text, and no report could hold it: rename the file or its folder."
        )
    folders = [os.path.basename(os.path.dirname(name)) for name in found]
    columns = {"path": found, OWN_NAME: _own_names(found, folder), "folder": folders}
    table = pd.DataFrame(columns, dtype=str)
    table.index = pd.RangeIndex(2, len(found) + 2, name=ROW)
    return table


def _own_names(found: list[str], folder: str) -> list[str]:
    """What tells the files apart: their names without endings; where one repeats (p1/cine.npy and
    p2/cine.npy), the paths below `folder` without endings; where one still does (0.png beside
    0.jpg), the whole paths."""
    paths = [os.path.relpath(os.path.join(folder, name), folder) for name in found]
    short = [_without_ending(path) for path in paths]
    names = ([os.path.basename(name) for name in short], short)
    return next((each for each in names if len(set(each)) == len(each)), paths)


def _without_ending(path: str) -> str:
    """A path without the ending of a format: other dots may be part of a UID."""
    from tvrl_jax.data import readers  # they take long to import, and a table of rows needs none

    endings = (*readers.ARRAYS, *readers.VOLUMES, *readers.PICTURES, *readers.DICOM)
    ending = next((end for end in endings if path.lower().endswith(end)), "")
    return path[: len(path) - len(ending)]


def separator(path: str) -> str:
    """Between the cells of a table, by the file's name."""
    return TAB if path.lower().endswith((".tsv", ".tab")) else ","


def _read_records(path: str) -> list[list[str]]:
    records: list[list[str]] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for record in csv.reader(file, delimiter=separator(path), strict=True):
                records.append([cell.strip() for cell in record])
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: save the table as CSV UTF-8.") from None
    except csv.Error as error:
        _check_separator(path)
        raise UserError(
            f"{path}, row {len(records) + 1} cannot be read ({error}): is a quotation mark there "
            "not closed, or a cell longer than 131072 characters?"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None
    if not any(map(any, records)):
        raise UserError(f"{path} is empty: a header and one row per image are needed.")
    if not any(records[0]):
        raise UserError(f"{path}, row 1 is blank: the header must stand there.")
    return records


def _check_separator(path: str) -> None:
    """UserError for a table whose header holds more names by another mark than by its own."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        line = file.readline(LONGEST_HEADER).rstrip("\r\n")
    own = separator(path)
    name, *more = _names(line, own, strict=False) or [""]
    for mark in OTHERS.replace(own, "") + "," * (own == TAB and not more):
        # Read as it would have been written: a name in quotation marks may hold any mark.
        if mark in name and (not more or len(_names(line, mark, strict=True)) > 1 + len(more)):
            raise UserError(
                f"{path} is not separated by {'tabs' if own == TAB else 'commas'}: its header is "
                f"{shorten(line)!r}; save it with commas, or with tabs as .tsv."
            )


def _names(line: str, mark: str, *, strict: bool) -> list[str]:
    """The cells of a line; none where it cannot be read so."""
    try:
        return next(csv.reader([line], delimiter=mark, strict=strict), [])
    except csv.Error:
        return []


def _check_shape(path: str, header: list[str], rows: dict[int, list[str]]) -> None:
    _check_separator(path)
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise UserError(f'{path} has two columns named "{name}": rename one of them.')
        seen.add(name)
    for row, cells in rows.items():
        if len(cells) != len(header):
            raise UserError(
                f"{path}, row {row} has {len(cells)} cells and the header {len(header)}: "
                "quote cells that hold a comma, or fill in what is missing."
            )


def check_column(table: pd.DataFrame, name: str, where: str, key: str) -> str:
    if name not in table.columns:
        raise UserError(f'{where} has no column "{name}" ({key}).{nearest(name, table.columns)}')
    return name


def cells(table: pd.DataFrame, spec: str, where: str, key: str) -> pd.Series | None:
    """The column named `spec`, or a template filled in for each row ("nifti/{subject}.nii.gz");
    None when `spec` is empty."""
    if not spec:
        return None
    if "{" not in spec:
        return table[check_column(table, spec, where, key)]
    parts = _parts(spec, key)
    for _, field in parts:
        if field is not None:
            check_column(table, field, where, key)
    filled = [_fill(parts, row) for row in table.to_dict("records")]
    return pd.Series(filled, index=table.index, dtype=str)


def fields(spec: str, key: str) -> list[str]:
    """The columns that `spec` names: itself, or those that its template is filled from."""
    if "{" not in spec:
        return [spec]
    return [field for _, field in _parts(spec, key) if field is not None]


def _parts(spec: str, key: str) -> list[tuple[str, str | None]]:
    """A template as texts, each with the column behind it. UserError where it is none."""
    try:
        parts = list(string.Formatter().parse(spec))
    except ValueError as error:
        raise UserError(f'{key}="{spec}" is no template ({error}).') from None
    for _, field, form, conversion in parts:
        if form or conversion:
            raise UserError(
                f'{key}="{spec}" is no template: cells are taken as they stand, so write '
                f'"{{{field}}}", with nothing behind the name.'
            )
    return [(text, field) for text, field, _, _ in parts]


def number(text: str) -> float:
    """The finite number that a cell states. ValueError for anything else, such as 1_0, which
    Python takes for 10."""
    value = float(text)
    if "_" in text or not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def states_number(text: str) -> bool:
    """Whether `number` takes it."""
    try:
        number(text)
    except ValueError:
        return False
    return True


def marks_hint(text: str) -> str:
    """What to write instead of "0,8", "1,234" or "1.234,5"; "" where that is not what is wrong."""
    if "," not in text and text.count(".") < 2:
        return ""
    point, whole = shorten(text.replace(",", ".")), shorten(text.replace(",", ""))
    by_comma, decimal = THOUSANDS.fullmatch(text), states_number(text.replace(",", "."))
    if by_comma and decimal:
        return f'write "{whole}", or "{point}" where the comma is a decimal one'
    if by_comma:
        return f'write "{whole}", with no mark but a decimal point'
    if THOUSANDS_BY_POINT.fullmatch(text):
        whole = shorten(text.replace(".", "").replace(",", "."))
        return f'write "{whole}", with no mark but a decimal point'
    return f'write "{point}", with a point' if decimal else ""


def _fill(parts: Iterable[tuple[str, str | None]], row: dict[str, str]) -> str:
    return "".join(text + (row[field] if field is not None else "") for text, field in parts)


def join_subjects(table: pd.DataFrame, column: str, root: str, name: str) -> pd.DataFrame:
    """Adds the columns of a second table that has one row per subject; where both have a column
    of one name, the first table's stays."""
    other, where = read_table(root, name), find_file(root, name)
    check_column(other, column, where, "data.columns.subject, which joins data.subject_csv")
    repeated = other[column][other[column].duplicated()]
    if len(repeated):
        raise UserError(
            f'{where}, row {repeated.index[0]}: subject "{repeated.iloc[0]}" is listed twice; '
            "data.subject_csv takes one row per subject."
        )
    unknown = table[column][~table[column].isin(other[column])]
    if len(unknown):
        raise UserError(f'{where} has no row for subject "{unknown.iloc[0]}".')
    added = other.set_index(column).drop(columns=table.columns, errors="ignore")
    return table.join(added, on=column)
