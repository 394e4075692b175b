"""Figures of a comparison: a panel per task, a line per method, the same colours in all of them."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tvrl_jax.comparison import collect
from tvrl_jax.comparison.plan import TRAIN, Plan
from tvrl_jax.comparison.summary import (
    Results,
    Setting,
    logged,
    marked,
    methods_of,
    tasks_of,
)
from tvrl_jax.report.curves import SMOOTH_FROM, running_mean
from tvrl_jax.report.naming import method_text, metric_text
from tvrl_jax.report.style import COLOURS, GREY, MARKERS, STYLE, png
from tvrl_jax.report.verdict import NO_SKILL
from tvrl_jax.results import CONSTANT, MINUS
from tvrl_jax.scalars import is_number

COLUMNS = 4
WIDTH = 9.6  # inches, of a figure
CUT = 1.0  # of the span above no skill: how far below it a panel reaches, if anything is there
MARGIN = 0.05  # of the span of a panel that is cut, below its lowest point
UNTRAINED = ((".", "--"), ("x", "-."), ("+", (0, (6, 2))), ("1", (0, (3, 1, 1, 1, 1, 1))))
CURVES = (
    ("loss", "loss"),
    ("top1", "finding the other view"),
    ("effective_rank", "effective rank"),
)


def look(plan: Plan, name: str) -> dict:
    """Colour, marker and dashes of a column: methods in colour, baselines in grey."""
    methods = list(plan.config.methods)
    if name == CONSTANT:
        return {"color": GREY, "marker": ".", "linestyle": ":"}
    if name not in methods:  # untrained encoders, one of each architecture
        others = [other for other in collect.names(plan) if other not in (*methods, CONSTANT)]
        marker, dashes = UNTRAINED[others.index(name) % len(UNTRAINED)]
        return {"color": GREY, "marker": marker, "linestyle": dashes}
    place = methods.index(name)
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": "-" if place < len(COLOURS) else "-."}


def best_baseline(plan: Plan, results: Results, at: Setting, task: str, metric: str) -> str | None:
    """That of `against` with the highest score; None where none was measured."""
    found = {b: results.find(b, task, at, metric) for b in plan.config.against}
    found = {b: row for b, row in found.items() if row and math.isfinite(row["value"])}
    return max(found, key=lambda b: found[b]["value"]) if found else None


@rc_context(STYLE)
def forest(plan: Plan, results: Results, at: Setting) -> bytes | None:
    """Each method minus the best baseline of the task, with intervals; filled = beyond chance."""
    shown = [
        (task, metric, best)
        for task, metric in tasks_of(results, at.probe)
        if (best := best_baseline(plan, results, at, task, metric))
    ]
    names = [n for n in methods_of(plan, results, at) if n in plan.config.methods]
    if not shown or len(names) < 2:
        return None
    few = {task for probe, task in results.small if probe == at.probe}
    figure, axes = _panels(len(shown), 0.5 + 0.19 * len(names))
    for axis, (task, metric, best) in zip(axes, shown, strict=True):
        axis.axvline(0, color=GREY, lw=1)
        for place, name in enumerate(names):
            if name == best:
                axis.plot(0, place, "o", color=GREY, ms=4)
            row = results.find(name + MINUS + best, task, at, metric)
            if row:
                _interval(axis, place, row, look(plan, name), told=task not in few)
        axis.set_yticks(range(len(names)), [method_text(n) for n in names])
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_title(f"{_title(results, at.probe, task, metric)} - {method_text(best)}")
        axis.tick_params(axis="y", length=0)
    for index, axis in enumerate(axes):
        if index % COLUMNS:
            axis.set_yticklabels([])
    return png(figure)


def _interval(axis: Axes, place: float, row, style: dict, *, told: bool) -> None:
    axis.hlines(place, row["ci_low"], row["ci_high"], color=style["color"], lw=1.4)
    sure = told and (row["ci_low"] > 0 or row["ci_high"] < 0)
    fill = style["color"] if sure else "white"
    axis.plot(
        row["value"], place, style["marker"], color=style["color"], ms=5, markerfacecolor=fill
    )


@rc_context(STYLE)
def label_efficiency(plan: Plan, results: Results, probe: str) -> bytes | None:
    """Score against the share of labels, a band for the interval of the claimed methods."""
    fractions = sorted({row["fraction"] for row in results.rows if row["probe"] == probe})
    tasks = tasks_of(results, probe)
    if len(fractions) < 2 or not tasks:
        return None
    figure, axes = _panels(len(tasks), 1.9)
    for axis, (task, metric) in zip(axes, tasks, strict=True):
        bests = []  # of each curve
        for name in methods_of(plan, results, Setting(probe, fractions[-1])):
            found = [results.find(name, task, Setting(probe, f), metric) for f in fractions]
            points = [
                (100 * r["fraction"], r["value"], r["ci_low"], r["ci_high"]) for r in found if r
            ]
            bests += [max(values)] if (values := _finite(points)) else []
            _curve(axis, np.array(points).T, look(plan, name), name in plan.config.claimed)
        axis.set_xscale("log")
        axis.set_xticks([100 * f for f in fractions], [f"{100 * f:g}" for f in fractions])
        axis.minorticks_off()
        _cut(axis, NO_SKILL.get(metric), bests)
        axis.set_title(_title(results, probe, task, metric))
    for axis in axes[-COLUMNS:]:
        axis.set_xlabel("% of the labels")
    _legend(figure, plan, methods_of(plan, results, Setting(probe, fractions[-1])))
    return png(figure)


def _curve(axis: Axes, points: np.ndarray, style: dict, banded: bool) -> None:
    share, value, low, high = points
    axis.plot(share, value, ms=4, **style)
    if banded:
        axis.fill_between(share, low, high, color=style["color"], alpha=0.12, lw=0)


def _finite(points: Sequence[tuple]) -> list[float]:
    return [value for _, value, *_ in points if math.isfinite(value)]


def _cut(axis: Axes, no_skill: float | None, bests: Sequence[float]) -> None:
    """With few labels R2 falls to minus anything, which would press all else into a line. Of each
    curve the panel holds the best point at least."""
    top = max(bests, default=-math.inf)
    if no_skill is not None and top > no_skill:
        low, high = axis.get_ylim()
        floor = min(no_skill - CUT * (top - no_skill), *bests)
        axis.set_ylim(max(low, floor - MARGIN * (top - floor)), high)


@rc_context(STYLE)
def training(plan: Plan) -> bytes | None:
    """What metrics.jsonl of the first pretraining seed says of each method."""
    logs = {}
    for cell in plan.cells:
        if cell.kind == TRAIN and cell.seed == plan.config.seeds[0] and (log := logged(cell)):
            logs[cell.method] = log
    if not logs:
        return None
    figure, axes = _panels(len(CURVES), 2.2, columns=len(CURVES))
    for axis, (metric, title) in zip(axes, CURVES, strict=True):
        for method, log in logs.items():
            points = [(row["step"], row[metric]) for row in log if is_number(row.get(metric))]
            if points:
                step_N, value_N = np.array(points, float).T
                smooth_N = running_mean(value_N) if len(value_N) >= SMOOTH_FROM else value_N
                axis.plot(step_N, smooth_N, **look(plan, method) | {"marker": ""})
        axis.set(title=title, xlabel="step")
        axis.set_ylim(bottom=min(axis.get_ylim()[0], 0))
        axis.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, plan, list(logs))
    return png(figure)


def _title(results: Results, probe: str, task: str, metric: str) -> str:
    """On two lines: beside three others a panel is narrower than the name of a column."""
    return f"{marked(results, probe, task)}\n({metric_text(metric)})"


def _panels(count: int, height: float, columns: int = COLUMNS) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of `height` inches each."""
    columns = min(count, columns)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, 0.35 + (height + 0.5) * lines))
    axes = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _legend(figure: Figure, plan: Plan, names: Sequence[str]) -> None:
    handles = [Line2D([], [], ms=4, label=method_text(name), **look(plan, name)) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 6))
