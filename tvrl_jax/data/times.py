"""Units of time, and which clock a series follows."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from tvrl_jax.data.table import number, states_number
from tvrl_jax.errors import UserError, nearest

SECONDS = {
    "ms": 1e-3,
    "s": 1.0,
    "days": 86400.0,
    "months": 86400.0 * 365.25 / 12,
    "years": 86400.0 * 365.25,
}
UNITS = (*SECONDS, "frames")
CALENDAR = ("days", "months", "years")
# Shifted dates may lie centuries ahead.
YEAR, MONTH, DAY = r"(1[89]|2\d)\d\d", r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
CLOCK = r"([01]\d|2[0-3])[0-5]\d([0-5]\d(\.\d*)?)?"  # HHMM or HHMMSS, and DICOM's fraction

# ISO 8601 with its dashes, which nothing else is written with. A zone is not taken: of two images
# of one patient, one in summer time, it would say an hour that nobody means.
ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?")

WHOLE = 't.astype(str).str.split(".").str[0]'  # without the dot of an empty cell or a fraction


class Form(NamedTuple):
    """A way to write a calendar date in digits alone."""

    name: str
    pattern: re.Pattern
    pandas: str  # what pd.to_datetime takes for a column t of it

    def has(self, text: str) -> bool:
        """Whether a time of this cell is written so."""
        return any(map(self.pattern.fullmatch, _words(text)))


def _form(name: str, pattern: str, pandas: str) -> Form:
    """With a dot as pandas writes it where a cell of the column is empty."""
    return Form(name, re.compile(rf"{pattern}(\.0*)?"), pandas)


# Of those that begin with a day or a month, a program that takes them for numbers drops the zero.
FORMS = (
    _form("YYYYMMDD", f"{YEAR}{MONTH}{DAY}({CLOCK})?", WHOLE),
    _form("DDMMYYYY", f"({DAY}|[1-9]){MONTH}{YEAR}", f'{WHOLE}.str.zfill(8), format="%d%m%Y"'),
    _form("MMDDYYYY", f"({MONTH}|[1-9]){DAY}{YEAR}", f'{WHOLE}.str.zfill(8), format="%m%d%Y"'),
    _form("YYYYMM", f"{YEAR}{MONTH}", f'{WHOLE}, format="%Y%m"'),
)


def check_unit(unit: str, key: str) -> str:
    if unit not in UNITS:
        raise UserError(f'data.{key} is "{unit}", which is no unit of time.{nearest(unit, UNITS)}')
    return unit


def convert(time_T: np.ndarray, source: str, target: str) -> np.ndarray:
    """Times in `source` as float64 in `target`; a count of frames has no length in seconds."""
    time_T = np.asarray(time_T, np.float64)
    if source == target:
        return time_T
    if "frames" in (source, target):
        raise UserError(
            f'times in "{source}" cannot be turned into "{target}": set data.column_unit and '
            "data.time_unit both to frames, or neither."
        )
    with np.errstate(over="ignore"):  # `series_times` refuses what is too large
        return time_T * SECONDS[source] / SECONDS[target]


def parse_times(text: str) -> tuple[float, ...]:
    """The numbers of one cell, separated by spaces, commas or semicolons; brackets are allowed.

    ValueError where one is none, and where commas stand within what other marks separate: they
    may be decimal ones."""
    if pointed(text):
        raise ValueError("a comma within a number")
    return tuple(number(word) for word in _words(text))


def is_date(text: str) -> bool:
    """Whether a cell is written as a date is by ISO 8601: 2020-01-31, also with a time of day
    behind a blank or a T."""
    return ISO.fullmatch(text) is not None


def parse_date(text: str) -> datetime:
    """Of a cell that `is_date`; without a time of day it is midnight. ValueError: no such day."""
    return datetime.fromisoformat(text)


def days_since_first(moments: Iterable[datetime]) -> list[float]:
    """Days, with their fractions, since the earliest of them."""
    moments = list(moments)
    first = min(moments)
    return [(moment - first) / timedelta(days=1) for moment in moments]


def pointed(text: str) -> str:
    """A cell of times with points for its decimal commas; "" where it has none, as "0,5" alone."""
    words = [word.strip(",") for word in text.translate(str.maketrans("[]();", "     ")).split()]
    points = [word.replace(",", ".") for word in words if word]
    within = any(word.count(",") == 1 for word in words)
    return (
        " ".join(points) if len(points) > 1 and within and all(map(states_number, points)) else ""
    )


def _words(text: str) -> list[str]:
    return text.translate(str.maketrans("[](),;", "      ")).split()


def find_form(texts: Iterable[str], unit: str) -> Form | None:
    """How calendar dates are written in these cells, or None where they are what they are said to
    be, numbers in `unit`: of two dates that are a day apart, the numbers may be 70 apart.

    In days and more, one date is enough: the number would be 500 years or more. In less, a number
    may be what it says; only dates that begin with the year and end with the day are told there,
    where they are at least two, and half of all."""
    words = [word for text in texts for word in _words(text)]
    forms = FORMS if unit in CALENDAR else FORMS[:1]
    count = {form: sum(map(bool, map(form.pattern.fullmatch, words))) for form in forms}
    form = max(forms, key=count.get)
    least = 1 if unit in CALENDAR else max(2, len(words) / 2)
    return form if count[form] >= least else None


def series_times(
    given_T: Sequence[float] | None,
    file_T: Sequence[float] | None,
    frames: int,
    *,
    time_unit: str,
    frame_interval: float,
    number_T: Sequence[int] | None = None,
) -> np.ndarray:
    """Times float64 [T] in `time_unit`: of the table, else frame numbers (unit "frames"), else of
    the file (given here in seconds), else `frame_interval`; a single frame may have none (0).

    number_T: the numbers of the frames, where some are missing; None: 0, 1, ...

    Raises UserError when there is no clock at all or when it disagrees with the frames."""
    number_T = np.arange(frames) if number_T is None else np.asarray(number_T)
    if given_T is not None:
        time_T = np.asarray(given_T, np.float64)
    elif time_unit == "frames":
        time_T = number_T * (frame_interval or 1.0)
    elif file_T is not None:
        time_T = convert(np.asarray(file_T), "s", time_unit)
    elif frame_interval > 0 or frames == 1:
        time_T = number_T * float(frame_interval)
    else:
        raise UserError(
            f"the file holds {frames} frames and no times: map data.columns.times, or set "
            'data.frame_interval, or data.time_unit="frames".'
        )
    if len(time_T) != frames:
        raise UserError(f"{len(time_T)} times were given for {frames} frames: one each is needed.")
    if np.isnan(time_T).any():
        at = int(np.argmax(np.isnan(time_T)))
        raise UserError(f"the time of frame {at} is not a number: give each frame its own.")
    if not np.isfinite(time_T).all():
        raise UserError(f"a time is too large to be told in {time_unit}: correct it.")
    if np.any(np.diff(time_T) < 0):
        at = int(np.argmax(np.diff(time_T) < 0)) + 1
        raise UserError(
            f"frame {at} has time {time_T[at]:g}, before the {time_T[at - 1]:g} of the frame "
            "in front of it: times must not fall."
        )
    return time_T
