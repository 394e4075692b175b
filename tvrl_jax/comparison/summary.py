"""The tables of a comparison as rows of text: scores, cost, settings."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tvrl_jax.comparison import collect, record
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan, differing
from tvrl_jax.errors import UserError
from tvrl_jax.report import compare, wording
from tvrl_jax.report.metricslog import FILE, read_metrics
from tvrl_jax.report.naming import method_text, metric_text
from tvrl_jax.report.progress import duration
from tvrl_jax.results import ALL, MAIN, MINUS
from tvrl_jax.scalars import is_number


class Grid(NamedTuple):
    """A table whose first column is text."""

    head: list[str]
    rows: list[list[str]]
    note: str = ""


class Results(NamedTuple):
    """The rows of a comparison, and those over all seeds by what they measure."""

    rows: Sequence[Mapping]
    by_key: dict[tuple, Mapping]  # (method, task, probe, fraction, metric) -> row
    per_seed: dict[tuple, list[float]]  # the same -> the value of each pretraining seed
    small: frozenset[tuple[str, str]]  # (probe, task) with few test patients, in all or of a class

    def find(self, method: str, task: str, at: "Setting", metric: str) -> Mapping | None:
        return self.by_key.get((method, task, *at, metric))


class Setting(NamedTuple):
    """What one table is about."""

    probe: str
    fraction: float  # of the labels


def gather(rows: Sequence[Mapping]) -> Results:
    by_key, per_seed = {}, {}
    for row in (row for row in rows if row["seed"] == ALL):
        key = tuple(row[name] for name in ("method", "task", "probe", "fraction", "metric"))
        if row["pretraining_seed"] == ALL:
            by_key[key] = row
        else:
            per_seed.setdefault(key, []).append(row["value"])
    return Results(rows, by_key, per_seed, _small(rows))


def _small(rows: Sequence[Mapping]) -> frozenset[tuple[str, str]]:
    """One column may be the classes of a probe and the events of another."""
    found = set()
    for probe in {row["probe"] for row in rows}:
        own = [row for row in rows if row["probe"] == probe]
        found |= {(probe, task) for task in compare.small(own)}
    return frozenset(found)


def about_notes(plan: Plan) -> str:
    """What stands above the notes of the probes."""
    return (
        "Said by the probes, whose resamples are their own (the comparison draws "
        f"{plan.config.bootstrap.samples}):"
    )


def settings_of(results: Results) -> list[Setting]:
    """Of each table; most labels first."""
    return [Setting(*pair) for pair in compare.settings_of(results.rows)] if results.rows else []


def tasks_of(results: Results, probe: str) -> list[tuple[str, str]]:
    """(task, its main metric), in the order of the rows."""
    main: dict[str, str] = {}
    for method, task, of, _, metric in results.by_key:
        if of == probe and metric in MAIN and MINUS not in method:
            main.setdefault(task, metric)
    return list(main.items())


def methods_of(plan: Plan, results: Results, at: Setting) -> list[str]:
    """The columns that were measured, in the order of the table."""
    there = {key[0] for key in results.by_key if key[2:4] == at}
    return [name for name in collect.names(plan) if name in there]


def heading(results: Results, probe: str, task: str, metric: str) -> str:
    """A task and its metric."""
    return f"{marked(results, probe, task)} ({metric_text(metric)})"


def marked(results: Results, probe: str, task: str) -> str:
    """A task, marked where there are few test patients, in all or of a class."""
    return task + (wording.SMALL if (probe, task) in results.small else "")


def scores(plan: Plan, results: Results, at: Setting) -> Grid:
    """method x task: the main metric with its interval; the spread over pretraining seeds, too."""
    tasks = tasks_of(results, at.probe)
    head = ["method", *(heading(results, at.probe, task, metric) for task, metric in tasks)]
    body = []
    for name in methods_of(plan, results, at):
        found = [results.find(name, task, at, metric) for task, metric in tasks]
        body.append([method_text(name), *map(_score, found)])
    return Grid(head, body, _note(plan, results, at))


def _score(row: Mapping | None) -> str:
    if row is None or math.isnan(row["value"]):
        return wording.MISSING
    text = f"{row['value']:.2f}{interval(row, '.2f')}"
    return text if math.isnan(row["spread"]) else f"{text} ± {row['spread']:.2f}"


def interval(row: Mapping, form: str) -> str:
    """In brackets after a number; "" where there is none."""
    if math.isnan(row["ci_low"]):  # of one patient there is none
        return ""
    return f" [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def _note(plan: Plan, results: Results, at: Setting) -> str:
    own = [row for row in results.rows if (row["probe"], row["fraction"]) == at]
    n = sorted({row["n"] for row in own if row["n"]})
    seeds, draws = plan.config.seeds, plan.config.probe.seeds
    several = "patients and draws of labels]", f"mean of {draws} draws of labels"
    over, of = several if draws > 1 else ("patients]", wording.ONE_SEED)
    parts = [
        f"{n[0]} test patients" if n[:1] == n[-1:] else f"{n[0]} to {n[-1]} test patients",
        f"[95 % interval over {over}",
        of,
        f"pretraining seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
    ]
    if len(seeds) > 1:
        parts.append(
            "± standard deviation over them, which intervals and p do not contain: they are of "
            "these encoders"
        )
    else:
        parts.append(
            "for these encoders, one pretraining each: how far another one would move the numbers "
            "is not known"
        )
    measured = _seeds(own, plan.config.methods)
    parts += [
        f"{method_text(name)}: seed{'s' * (len(there) > 1)} {', '.join(map(str, there))} alone, "
        "and its differences over these"
        for name, there in measured.items()
        if there != sorted(seeds)
    ]
    parts += [
        f"{method_text(a)} and {method_text(b)}: no seed in common, so that they are not compared"
        for a, b in itertools.product(plan.config.claimed, plan.config.against)
        if a in measured and b in measured and not set(measured[a]) & set(measured[b])
    ]
    parts += [wording.SMALL_NOTE] if compare.small(own) else []
    return "; ".join(parts) + "."


def _seeds(rows: Sequence[Mapping], methods: Sequence[str]) -> dict[str, list[int]]:
    """The pretraining seeds that were measured of each method."""
    found = {name: set() for name in methods}
    for row in rows:
        if row["method"] in found and row["pretraining_seed"] != ALL:
            found[row["method"]].add(row["pretraining_seed"])
    return {name: sorted(there) for name, there in found.items() if there}


def cost(plan: Plan) -> Grid:
    """What each cell took, and how fast the pretraining was."""
    body = []
    for cell in plan.cells:
        made = record.read(cell)
        if made is None or made.code:
            continue
        speed = _speed(logged(cell) if cell.kind == TRAIN else [])
        took = duration(made.seconds)
        body.append([cell.method, str(cell.seed), cell.kind, took, *speed])
    note = "Wall time of the whole process; a probe's includes the baselines measured beside it."
    return Grid(["method", "seed", "cell", "time", "steps/s", "clips/s"], body, note)


def logged(cell: Cell) -> list[dict]:
    """The rows of a pretraining's metrics.jsonl; none where it is lost, which is an alarm."""
    try:
        return read_metrics(cell.folder / FILE)
    except UserError:
        return []


def _speed(metrics: Sequence[Mapping]) -> list[str]:
    """The median of what the log holds: the first entry includes the compilation."""
    texts = []
    for name in ("steps_per_second", "clips_per_second"):
        values = sorted(row[name] for row in metrics if is_number(row.get(name)))
        texts.append(f"{values[len(values) // 2]:.3g}" if values else wording.MISSING)
    return texts


def differences_between_methods(plan: Plan) -> Grid:
    """Keys of the pretraining that are not alike in all methods; the others are."""
    body = [
        [key, *("-" if value is None else str(value) for value in values)]
        for key, values in differing(plan.pretraining).items()
    ]
    note = "Every other key of the configuration is the same for all methods."
    return Grid(["key", *plan.pretraining], body, note)
