"""Which method is better at which task, said only where the intervals or the differences say it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tvrl_jax.report.naming import lower_is_better
from tvrl_jax.results import (
    ALL,
    BASELINES,
    CONSTANT,
    FEW,
    MINUS,
    PATIENTS_OF,
    PER_CLASS,
    SPREAD,
)

LENT = ("supervised", CONSTANT)  # probe no checkpoint: they may stand beside any probe


class Cell(NamedTuple):
    value: float
    low: float
    high: float
    n: int  # test patients
    seeds: int
    best: bool


class Line(NamedTuple):
    task: str
    metric: str
    cells: tuple[Cell | None, ...]  # one per method; None = not measured
    few: bool  # the task has too few test patients, in all or of a class
    sparse: bool  # this metric has, such as too few who were seen beyond its horizon

    @property
    def is_open(self) -> bool:
        """Whether the test patients are too few to call one cell better than another."""
        return self.few or self.sparse


def methods_of(rows: Iterable[Mapping]) -> list[str]:
    """The methods of the rows, in their order, baselines last; no paired differences."""
    found = dict.fromkeys(row["method"] for row in rows if MINUS not in row["method"])
    return sorted(found, key=lambda name: 1 + BASELINES.index(name) if name in BASELINES else 0)


def columns_of(rows: Iterable[Mapping], probe: str, fraction: float) -> list[str]:
    """The methods with a cell in the table of a probe and label fraction, as `methods_of`."""
    rows = [row for row in rows if math.isclose(float(row["fraction"]), fraction)]
    lines = {_line_key(row) for row in rows if row["probe"] == probe}
    there = {
        row["method"]
        for row in rows
        if _line_key(row) in lines and (row["probe"] == probe or row["method"] in LENT)
    }
    return [name for name in methods_of(rows) if name in there]


def settings_of(rows: Sequence[Mapping]) -> list[tuple[str, float]]:
    """(probe, label fraction) of every table that the rows fill; most labels first."""
    rows = [row for row in rows if MINUS not in row["method"]]
    learners = [row for row in rows if row["method"] not in BASELINES] or rows
    pairs = dict.fromkeys((row["probe"], float(row["fraction"])) for row in learners)
    probes = list(dict.fromkeys(probe for probe, _ in pairs))
    return sorted(pairs, key=lambda pair: (probes.index(pair[0]), -pair[1]))


def compare(
    rows: Iterable[Mapping], methods: Sequence[str], fraction: float, *, probe: str = ""
) -> list[Line]:
    """One line per task and metric, in the order of `rows`.

    Rows that describe a task or another row (`is_score`) make no line of their own.

    A cell is the row whose seed is "all"; without one, the mean over the seeds of value, low and
    high (the interval of a typical seed, not the spread over seeds). All are of one probe: of
    `probe` ("" = the first that the method has); only the methods LENT, which need no checkpoint,
    keep those of their first probe where they have none of this one.

    The best cell of a line is marked when its lead over each other cell is beyond chance: a row
    of method "A - B" (their paired difference with its interval) decides; without one, the two
    intervals must not overlap. Nothing is marked where there are too few test patients, in all, of
    a class or for a metric.
    """
    rows = [row for row in rows if math.isclose(float(row["fraction"]), fraction)]
    shown = [row for row in rows if row["method"] in methods and probe in ("", row["probe"])]
    pairs = dict.fromkeys(_line_key(row) for row in shown if is_score(row))
    own = [row for row in rows if probe in ("", row["probe"])]
    few, thin = small(own), sparse(own)
    return [
        _line(rows, methods, *pair, probe, few=pair[0] in few, sparse=pair in thin)
        for pair in pairs
    ]


def _line_key(row: Mapping) -> tuple[str, str]:
    return row["task"], row["metric"]


def is_score(row: Mapping) -> bool:
    """Whether a row holds a metric of predictions, and not a count or a deviation among fits."""
    metric = row["metric"]
    return not (metric == PER_CLASS or metric.startswith(PATIENTS_OF) or metric.endswith(SPREAD))


def small(rows: Iterable[Mapping]) -> set[str]:
    """The tasks with fewer than FEW test patients, in all or of a class."""
    return {row["task"] for row in rows if _is_few(row)}


def _is_few(row: Mapping) -> bool:
    if row["metric"] == PER_CLASS:
        return float(row["value"]) < FEW
    return 0 < row["n"] < FEW  # 0 where a table does not say


def sparse(rows: Iterable[Mapping]) -> set[tuple[str, str]]:
    """(task, metric) of which a group that the metric needs has fewer than FEW test patients."""
    return {
        (row["task"], row["metric"].removeprefix(PATIENTS_OF))
        for row in rows
        if row["metric"].startswith(PATIENTS_OF) and float(row["value"]) < FEW
    }


def _line(rows, methods, task: str, metric: str, probe: str, *, few: bool, sparse: bool) -> Line:
    rows = [row for row in rows if _line_key(row) == (task, metric)]
    cells = {name: _cell(rows, name, probe) for name in methods}
    there = {name: cell for name, cell in cells.items() if cell is not None}
    best = None if few or sparse else _best(rows, there, metric, probe)
    marked = [cell and cell._replace(best=name == best) for name, cell in cells.items()]
    return Line(task, metric, tuple(marked), few, sparse)


def _cell(rows: Sequence[Mapping], method: str, probe: str) -> Cell | None:
    found = _of_one_probe([row for row in rows if row["method"] == method], method, probe)
    single = [row for row in found if row["seed"] != ALL]
    found = [row for row in found if row["seed"] == ALL] or found
    if not found:
        return None
    value, low, high = (_mean(row[k] for row in found) for k in ("value", "ci_low", "ci_high"))
    return Cell(value, low, high, min(int(row["n"]) for row in found), len(single), False)


def _of_one_probe(rows: Sequence[Mapping], method: str, probe: str) -> list[Mapping]:
    """Never of several: a mean over probes is the score of none."""
    own = [row for row in rows if row["probe"] == probe]
    if own or not rows or (probe and method not in LENT):
        return own
    return [row for row in rows if row["probe"] == rows[0]["probe"]]


def _mean(values: Iterable[float]) -> float:
    values = [float(value) for value in values]
    return math.fsum(values) / len(values)


def _best(rows, cells: Mapping[str, Cell], metric: str, probe: str) -> str | None:
    if len(cells) < 2 or any(math.isnan(cell.value) for cell in cells.values()):
        return None
    sign = -1 if lower_is_better(metric) else 1
    leader = max(cells, key=lambda name: sign * cells[name].value)
    others = [name for name in cells if name != leader]
    sure = all(_leads(rows, cells, leader, name, sign, probe) for name in others)
    return leader if others and sure else None


def _leads(rows, cells, leader: str, other: str, sign: int, probe: str) -> bool:
    for first, second, turn in ((leader, other, sign), (other, leader, -sign)):
        gap = _cell(rows, first + MINUS + second, probe)
        if gap:
            return min(turn * gap.low, turn * gap.high) > 0
    if sign > 0:
        return cells[leader].low > cells[other].high
    return cells[leader].high < cells[other].low
