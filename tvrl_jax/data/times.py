"""Units of time, and which clock a series follows."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from tvrl_jax.data.table import number
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
# YYYYMMDD, HHMM or HHMMSS behind it; with a dot as pandas writes it where a cell of the column is
# empty, and DICOM the fraction of a second. Shifted dates may lie centuries ahead.
DATE = re.compile(
    r"(1[89]|2\d)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    r"(([01]\d|2[0-3])[0-5]\d([0-5]\d(\.\d*)?)?)?(\.0*)?"
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
    """The numbers of one cell, separated by spaces, commas or semicolons; brackets are allowed."""
    return tuple(number(word) for word in _words(text))


def _words(text: str) -> list[str]:
    return text.translate(str.maketrans("[](),;", "      ")).split()


def is_date(text: str) -> bool:
    """Whether a time of this cell is written like a calendar date."""
    return any(map(DATE.fullmatch, _words(text)))


def are_dates(texts: Iterable[str], unit: str) -> bool:
    """Whether the times of these cells, said to count in `unit`, are calendar dates: of two that
    are a day apart, the numbers may be 70 apart.

    In days and more, one is enough: the number would be 49,000 years. In less, a number may be
    what it says; there at least two, and half of all, look like dates."""
    words = [word for text in texts for word in _words(text)]
    dates = sum(bool(DATE.fullmatch(word)) for word in words)
    return dates >= 1 if unit in CALENDAR else dates >= max(2, len(words) / 2)


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
    if not np.isfinite(time_T).all():
        raise UserError(f"a time is too large to be told in {time_unit}: correct it.")
    if np.any(np.diff(time_T) < 0):
        at = int(np.argmax(np.diff(time_T) < 0)) + 1
        raise UserError(
            f"frame {at} has time {time_T[at]:g}, before the {time_T[at - 1]:g} of the frame "
            "in front of it: times must not fall."
        )
    return time_T
