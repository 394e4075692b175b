"""A comparison in words: the cells of its table, the marks beside them, and what they mean."""

import math
from collections.abc import Iterable, Sequence

from tvrl_jax.report.compare import Cell, Line
from tvrl_jax.report.naming import lower_is_better, method_text, metric_text
from tvrl_jax.results import FEW

BEST = " *"
MISSING = "-"
SMALL = " !"  # after the name of a task or of a metric
SMALL_NOTE = (
    f"! fewer than {FEW} test patients in all, of a class, or with the event (at a horizon: by "
    "then, or seen free of it for longer): the numbers say little, and nothing is concluded"
)

ONE_SEED = "one seed: the luck of its draw of labels is not in the interval"


def heading(probe: str, fraction: float) -> str:
    return f"{probe} probe, {100 * fraction:g} % of the labels"


def grid(lines: Sequence[Line], methods: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text cells; BEST follows the best cell of a row."""
    head = ["task", "metric", *map(method_text, methods)]
    body, above = [], ""
    for line in lines:
        cells = line_texts(line, BEST)
        task = "" if line.task == above else task_text(line)
        metric = metric_text(line.metric) + (SMALL if line.sparse and not line.few else "")
        body.append([task, metric, *cells])
        above = line.task
    return head, body


def task_text(line: Line) -> str:
    return line.task + (SMALL if line.few else "")


def line_texts(line: Line, best: str = "") -> list[str]:
    """`value [low, high]` of each cell, with as many decimals in all of them.

    Two for scores; for an error in a unit, three significant digits of the largest value.
    """
    values = [
        abs(cell.value) for cell in line.cells if cell and cell.value and math.isfinite(cell.value)
    ]
    decimals = 2
    if lower_is_better(line.metric):
        decimals = max(2 - math.floor(math.log10(max(values))), 0) if values else 0
    return [_cell_text(cell, decimals, best) for cell in line.cells]


def _cell_text(cell: Cell | None, decimals: int, best: str) -> str:
    if cell is None or math.isnan(cell.value):
        return MISSING
    text = f"{cell.value:.{decimals}f}"
    if not math.isnan(cell.low):
        text += f" [{cell.low:.{decimals}f}, {cell.high:.{decimals}f}]"
    return text + (best if cell.best else "")


def note(lines: Sequence[Line], seeds: int = 0) -> str:
    """What a reader must know: patients, seeds, intervals, marks.

    seeds: of the probe, where the lines are made of rows over all seeds only.
    """
    cells = [cell for line in lines for cell in line.cells if cell]
    if not cells:
        return ""
    counts = {cell.seeds for cell in cells if cell.seeds} or {seeds}
    over = "patients and seeds" if max(counts) > 1 else "patients"
    parts = [f"{_span(cell.n for cell in cells)} test patients", f"[95 % interval over {over}]"]
    if max(counts) > 1:
        parts.append(f"mean of {_span(counts)} seeds")
    if 1 in counts:
        parts.append(ONE_SEED)
    if any(cell.best for cell in cells):
        parts.append("* better than every other column beyond chance")
    elif any(sum(cell is not None for cell in line.cells) > 1 for line in lines):
        parts.append("no column is better than every other beyond chance")
    if any(line.is_open for line in lines):
        parts.append(SMALL_NOTE)
    return "; ".join(parts) + "."


def _span(numbers: Iterable[int]) -> str:
    low, high = min(numbers := list(numbers)), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
