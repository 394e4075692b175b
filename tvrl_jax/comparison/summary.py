"""The tables of a comparison as rows of text: results, differences, cost, failures, settings."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tvrl_jax.comparison import collect, record
from tvrl_jax.comparison.plan import TRAIN, Plan, differing
from tvrl_jax.probing.rows import ALL
from tvrl_jax.report import compare
from tvrl_jax.report.metricslog import FILE, read_metrics
from tvrl_jax.report.progress import duration
from tvrl_jax.report.scalars import is_number
from tvrl_jax.report.tables import COLUMNS

BEYOND_CHANCE = 0.05


class Grid(NamedTuple):
    """A table whose first column is text."""

    head: list[str]
    rows: list[list[str]]
    note: str = ""


def settings_of(rows: Sequence[Mapping]) -> list[tuple[str, float]]:
    """(probe, label fraction) of each table, most labels first."""
    return compare.settings_of(rows) if rows else []


def tasks_of(rows: Sequence[Mapping], probe: str) -> list[tuple[str, str]]:
    """(task, its main metric), in the order of the rows."""
    pairs = dict.fromkeys(
        (row["task"], row["metric"])
        for row in rows
        if row["probe"] == probe and compare.MINUS not in row["method"]
    )
    main: dict[str, str] = {}
    for task, metric in pairs:
        if metric in collect.MAIN:
            main.setdefault(task, metric)
    return list(main.items())


def find(rows: Sequence[Mapping], **wanted) -> Mapping | None:
    """The row over all seeds with these values."""
    wanted |= {"seed": ALL, "pretraining_seed": ALL}
    return next((row for row in rows if all(row[k] == v for k, v in wanted.items())), None)


def results(plan: Plan, rows: Sequence[Mapping], probe: str, fraction: float) -> Grid:
    """method x task: the main metric with its interval; the spread over pretraining seeds, too."""
    tasks = tasks_of(rows, probe)
    head = ["method", *(f"{task} ({compare.NAMES.get(metric, metric)})" for task, metric in tasks)]
    body = []
    for name in collect.names(plan):
        wanted = dict(method=name, probe=probe, fraction=fraction)
        found = [find(rows, task=task, metric=metric, **wanted) for task, metric in tasks]
        if any(found):
            body.append([compare.LABELS.get(name, name), *map(_score, found)])
    return Grid(head, body, _note(plan, rows))


def _score(row: Mapping | None) -> str:
    if row is None or math.isnan(row["value"]):
        return compare.MISSING
    text = f"{row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return text if math.isnan(row["spread"]) else f"{text} ± {row['spread']:.2f}"


def _note(plan: Plan, rows: Sequence[Mapping]) -> str:
    n = sorted({row["n"] for row in rows if row["n"]})
    span = f"{n[0]}" if n[:1] == n[-1:] else f"{n[0]} to {n[-1]}"
    seeds = ", ".join(map(str, plan.config.seeds))
    text = (
        f"{span} test patients; [95 % interval over patients]; mean of {plan.config.probe.seeds} "
        f"draws of labels; pretraining seed{'s' * (len(plan.config.seeds) > 1)} {seeds}"
    )
    if len(plan.config.seeds) > 1:
        return text + ", ± standard deviation over them."
    return text + ": how much another one would change is not known."


def claims(plan: Plan, rows: Sequence[Mapping], probe: str, fraction: float) -> Grid:
    """claimed minus against, task by task: difference, interval, p and corrected p."""
    body = []
    for task, metric in tasks_of(rows, probe):
        for a in plan.config.claimed:
            for b in plan.config.against:
                of = dict(method=a + compare.MINUS + b, task=task, probe=probe, fraction=fraction)
                gap, p, holm = (
                    find(rows, metric=metric + end, **of) for end in ("", collect.P, collect.HOLM)
                )
                if gap and p and holm:
                    texts = (_probability(row["value"]) for row in (p, holm))
                    body.append([task, a, b, _gap(gap), *texts, _word(gap, holm["value"])])
    note = (
        f"p: two-sided, paired bootstrap of patients. Corrected: Holm, over these {len(body)} "
        "differences."
    )
    head = ["task", "method", "minus", "difference", "p", "corrected p", "verdict"]
    return Grid(head, body, note)


def _gap(row: Mapping) -> str:
    return f"{row['value']:+.2f} [{row['ci_low']:+.2f}, {row['ci_high']:+.2f}]"


def _probability(p: float) -> str:
    if math.isnan(p):
        return compare.MISSING
    return f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def _word(gap: Mapping, p: float) -> str:
    if not p < BEYOND_CHANCE:
        return "not shown to differ"
    return "ahead" if gap["value"] > 0 else "behind"


def cost(plan: Plan) -> Grid:
    """What each cell took, and how fast the pretraining was."""
    body = []
    for cell in plan.cells:
        made = record.read(cell)
        if made is None or made.code:
            continue
        speed = [compare.MISSING] * 2
        if cell.kind == TRAIN:
            speed = _speed(read_metrics(cell.folder / FILE))
        took = duration(made.seconds)
        body.append([cell.method, str(cell.seed), cell.kind, took, *speed])
    note = "Wall time of the whole process; a probe's includes the baselines measured beside it."
    return Grid(["method", "seed", "cell", "time", "steps/s", "clips/s"], body, note)


def _speed(metrics: Sequence[Mapping]) -> list[str]:
    """The median of what the log holds: the first entry includes the compilation."""
    texts = []
    for name in ("steps_per_second", "clips_per_second"):
        values = sorted(row[name] for row in metrics if is_number(row.get(name)))
        texts.append(f"{values[len(values) // 2]:.3g}" if values else compare.MISSING)
    return texts


def failures(plan: Plan) -> list[str]:
    """A sentence for every cell that is not done."""
    found = []
    for cell in plan.cells:
        made = record.read(cell)
        if made is None or made.arguments != cell.arguments:
            found.append(f"{cell.name}: not run yet")
        elif made.code:
            found.append(f"{cell.name}: {made.reason.rstrip('.')} ({record.log_of(cell)})")
    return found


def differences_between_methods(plan: Plan) -> Grid:
    """Keys of the pretraining that are not alike in all methods; the others are."""
    body = [
        [key, *("-" if value is None else str(value) for value in values)]
        for key, values in differing(plan.pretraining).items()
    ]
    note = "Every other key of the configuration is the same for all methods."
    return Grid(["key", *plan.pretraining], body, note)


def plain(rows: Sequence[Mapping]) -> list[dict]:
    """The rows over all pretraining seeds with the columns of a probe's results.csv."""
    return [{k: row[k] for k in COLUMNS} for row in rows if row["pretraining_seed"] == ALL]
