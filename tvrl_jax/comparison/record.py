"""What became of a cell: written beside its folder when its process has ended."""

import json
import math
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tvrl_jax import settings
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan
from tvrl_jax.files import whole_file
from tvrl_jax.probing import predictions

PLACES = ("--workdir=", "--checkpoint=")  # change when the folder of a comparison is moved
# What a pretraining has to be told although nothing about it changes: its probes ask it.
TOLD = ("data.root", "data.store")
NOT_TRAINED = "its pretraining failed"  # the reason of a probe that could not begin


class Record(NamedTuple):
    arguments: tuple[str, ...]
    code: int  # 0 = done
    reason: str  # why not; one sentence
    seconds: float  # of wall time, over all attempts of a pretraining
    ended: float  # seconds since 1970


def log_of(cell: Cell) -> Path:
    return cell.folder.with_name(f"{cell.folder.name}.log")


def place(cell: Cell) -> Path:
    return cell.folder.with_name(f"{cell.folder.name}.json")


def read(cell: Cell) -> Record | None:
    """None where the cell has not been run, its folder is gone or its record is damaged."""
    try:
        record = _checked(json.loads(place(cell).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return record if record.code or cell.folder.is_dir() else None


def _checked(held: dict) -> Record:
    """TypeError or ValueError for what `write` would not have written."""
    record = Record(**held | {"arguments": tuple(held["arguments"])})
    texts, numbers = (*held["arguments"], record.reason), (record.seconds, record.ended)
    if not isinstance(held["arguments"], list) or not all(isinstance(t, str) for t in texts):
        raise TypeError("arguments and reason are text")
    if type(record.code) is not int or not all(type(n) in (int, float) for n in numbers):
        raise TypeError("code, seconds and ended are numbers")
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("seconds and ended are finite")
    return record


def write(cell: Cell, record: Record) -> None:
    whole_file.write(place(cell), json.dumps(record._asdict(), indent=1) + "\n")


def is_done(plan: Plan, cell: Cell) -> bool:
    """Whether the cell was finished with this command, and after what it rests on; of a probe also
    whether what it predicted is still there."""
    record = read(cell)
    if record is None or record.code or not same(record, cell):
        return False
    if cell.kind == TRAIN:
        return True
    if not predictions.place(cell.folder, cell.kind).is_file():
        return False
    trained = plan.pretrained(cell)
    return is_done(plan, trained) and read(trained).ended <= record.ended


def same(record: Record, cell: Cell) -> bool:
    """Whether the record is of the cell's command; the comparison may have been moved or copied,
    and a pretraining may have been told otherwise to read or to log."""
    return _is_same(record, cell, [key for key in settings.MAY_CHANGE if key not in TOLD])


def goes_on(record: Record, cell: Cell) -> bool:
    """Whether a pretraining is still the one of the record, wherever its images lie now."""
    return _is_same(record, cell, settings.MAY_CHANGE)


def _is_same(record: Record, cell: Cell, free: Sequence[str]) -> bool:
    aside = (*PLACES, *(f"--config.{key}" for key in free if cell.kind == TRAIN))
    before, now = (
        [a for a in arguments if not a.startswith(aside)]
        for arguments in (record.arguments, cell.arguments)
    )
    return before == now


def reason(log: Path, code: int) -> str:
    """The sentence with which the last process of a log ended: its error, else its last line."""
    if code < 0:
        known = {each.value: f" ({each.name})" for each in signal.Signals}
        return f"ended by signal {-code}{known.get(-code, '')}"
    text = log.read_text(encoding="utf-8", errors="replace")
    last = re.split(r"(?m)^\$ python .*$", text)[-1]  # a pretraining's holds earlier attempts
    lines = re.split(r"[\r\n]+", last.strip())
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines)[-1].strip() or "it ended without a word"
