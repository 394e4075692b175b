"""The report's answer to whether the encoder knows time: bars, heat maps, trajectories, a table."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from tvrl_jax.report import compare, tables, wording
from tvrl_jax.report.naming import method_text, metric_text
from tvrl_jax.report.page import Fold, Gallery, Picture, Section, Table, Text
from tvrl_jax.report.style import COLOURS, GREY, MARKERS, STYLE, png
from tvrl_jax.results import ELAPSED_TASKS, FEW, PER_CLASS, TEMPORAL

TITLE = "Does it know time?"
WORDS = {
    "cls_change": "change of CLS",
    "top1": "top-1",
    "top1_chance": "top-1 by chance",
    "same_series": "same series",
    "same_patient": "same patient, other series",
    "other_patients": "different patients",
    "effective_rank": "effective rank",
}
SECOND = ("mae", "average_precision")
SMALL_NOTE = f"! fewer than {FEW} test patients, in all or of a class: it says little"
CHANGES = (
    "How far CLS moves when the frames of a window are put into another order, or when their times "
    "are taken away or scaled: 1 - cosine, in units of that between patients. 0 is not noticed."
)
ELAPSED = (
    "The time between two frames, read by ridge regression on new patients. Frames are seen alone; "
    "tokens also carry position and time. Controls: positions alone, and the times of other pairs."
)
MAPS = (
    "Mean cosine of two different moments of a series by their times, after the mean over all "
    "series is taken away. Frames: each seen alone, times from the series' first. Tokens: what the "
    "temporal encoder makes of them, times within a window. White: no two such moments."
)
PATHS = (
    "Frames of a few test patients on the principal axes of all test frames, joined in the order "
    "of time; the ring is the first. On the right each series without its own mean."
)
BESIDES = (
    "How alike the features of two windows are (cosine), how many directions they use, and what "
    "can be read from them that is no disease: who it is, and the columns of temporal.columns."
)


def rows_of(results: Sequence[Mapping]) -> list[Mapping]:
    """The rows of this probe."""
    return [row for row in results if row["probe"] == TEMPORAL]


def without(material):
    """The same material without these rows: most have no better and no worse."""
    return material._replace(results=[r for r in material.results if r["probe"] != TEMPORAL])


def sections(rows: Sequence[Mapping], arrays: Mapping[str, np.ndarray]) -> list[Section]:
    """[] where time was not probed. arrays: of temporal.npz, {} = missing."""
    if not rows:
        return []
    parts = [*_bars(rows, "cls_change", "change of order and times", CHANGES)]
    elapsed = [row for row in rows if row["task"] in ELAPSED_TASKS]
    parts += _bars(elapsed, "r2", "elapsed time, R2", ELAPSED)
    if arrays:
        methods = compare.methods_of(rows)
        drawn = [_pictures(arrays, name) for name in methods if f"map_frames/{name}" in arrays]
        parts += [part for made in drawn[:1] for part in made]
        folded = zip(methods[1:], drawn[1:], strict=False)
        parts += [Fold(f"The same, {method_text(name)}", made) for name, made in folded]
    parts += [Text(BESIDES), table(besides(rows))]
    return [Section(TITLE, [*parts, Fold("All numbers", [table(rows)])])]


def besides(rows: Sequence[Mapping]) -> list[Mapping]:
    """How alike series are, and the shortcuts: what no figure shows, without the targets, of which
    some rows tell what a change costs."""
    targets = {row["task"] for row in rows if "_drop_" in row["metric"]}
    drawn = ("cls_change", *SECOND)
    return [
        row
        for row in rows
        if row["metric"] not in drawn
        and row["task"] not in targets
        and row["task"] not in ELAPSED_TASKS
    ]


def _bars(rows: Sequence[Mapping], metric: str, title: str, caption: str) -> list:
    own = [row for row in rows if row["metric"] == metric and math.isfinite(row["value"])]
    if not own:
        return []
    alt = f"{title} of each method, with intervals; the numbers are in the table"
    return [Picture(bars(own, title), alt), Text(caption, quiet=True)]


@rc_context(STYLE)
def bars(rows: Sequence[Mapping], title: str) -> bytes:
    """Value and interval of each task, the methods one below the other."""
    names, methods = list(dict.fromkeys(r["task"] for r in rows)), compare.methods_of(rows)
    figure = Figure(figsize=(6.8, 0.8 + 0.3 * len(names) * max(1, 0.6 * len(methods))))
    axis = figure.subplots()
    axis.axvline(0, color=GREY, lw=1)
    step = 0.7 / len(methods)
    for m, method in enumerate(methods):
        own = [row for row in rows if row["method"] == method]
        value, low, high = (np.array([r[k] for r in own]) for k in ("value", "ci_low", "ci_high"))
        place = [names.index(r["task"]) + (m - (len(methods) - 1) / 2) * step for r in own]
        axis.barh(place, value, height=0.8 * step, color=COLOURS[m], label=method_text(method))
        axis.hlines(place, low, high, color="#333333", lw=1.2)
    axis.set_yticks(range(len(names)), names)
    axis.set(ylim=(len(names) - 0.5, -0.5), title=title)
    axis.grid(False, axis="y")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return png(figure)


def _pictures(arrays: Mapping[str, np.ndarray], method: str) -> list:
    """Heat maps and trajectories of one method."""
    own = {
        name.removesuffix(f"/{method}"): array
        for name, array in arrays.items()
        if name.endswith(f"/{method}")
    }
    unit, patients = str(arrays["unit"]), arrays["patient"]
    maps = [(name, own[f"map_{name}"], own[f"edges_{name}"]) for name in ("frames", "tokens")]
    drawn = [
        (f"patient {patients[k]}", one, own["edges_frames"])
        for k, one in zip(own["drawn"], own["map_drawn"], strict=True)
    ]
    paths = [
        _path_picture(own, name, title, unit, method)
        for name, title in (("path", "frames"), ("path_centred", "frames without own mean"))
    ]
    return [
        Gallery([_map_picture(*one, unit, method) for one in maps]),
        Text(MAPS, quiet=True),
        Gallery(paths),
        Text(PATHS, quiet=True),
        Fold(
            "Heat maps of these patients",
            [Gallery([_map_picture(*o, unit, method) for o in drawn])],
        ),
    ]


def _map_picture(title: str, value, edge, unit: str, method: str) -> Picture:
    alt = f"Similarity over time, {method_text(method)}, {title}"
    return Picture(heat_map(value, edge, title, unit=unit), alt)


def _path_picture(own: Mapping, name: str, title: str, unit: str, method: str) -> Picture:
    fields = (own[f"{name}_{k}"] for k in ("position_P2", "time_P", "series_P", "share_2"))
    alt = f"Trajectories, {method_text(method)}, {title}"
    return Picture(trajectories(*fields, title, unit=unit), alt)


@rc_context(STYLE)
def heat_map(value_EE: np.ndarray, edge_E: np.ndarray, title: str, *, unit: str) -> bytes:
    figure = Figure(figsize=(4.0, 3.4))
    axis = figure.subplots()
    mesh = axis.pcolormesh(edge_E, edge_E, np.ma.masked_invalid(value_EE), cmap="viridis")
    bar = figure.colorbar(mesh, ax=axis, label="cosine", aspect=30)
    bar.outline.set_visible(False)
    axis.set(title=title, xlabel=f"time [{unit}]", ylabel=f"time [{unit}]", aspect="equal")
    axis.grid(False)
    return png(figure)


@rc_context(STYLE)
def trajectories(position_P2, time_P, series_P, share_2, title: str, *, unit: str) -> bytes:
    """A line per series, its points coloured by time."""
    figure = Figure(figsize=(4.4, 3.4))
    axis = figure.subplots()
    for n, series in enumerate(dict.fromkeys(series_P.tolist())):
        own = position_P2[series_P == series]
        axis.plot(*own.T, color=COLOURS[n % len(COLOURS)], lw=1, zorder=1)
        axis.plot(*own[0], MARKERS[0], mfc="none", color=COLOURS[n % len(COLOURS)], ms=9)
    points = axis.scatter(*position_P2.T, c=time_P, s=9, cmap="viridis", zorder=2)
    bar = figure.colorbar(points, ax=axis, label=f"time [{unit}]", aspect=30)
    bar.outline.set_visible(False)
    labels = [f"axis {i + 1} ({100 * share_2[i]:.0f} % of variance)" for i in range(2)]
    axis.set(title=title, xlabel=labels[0], ylabel=labels[1], xticks=(), yticks=())
    return png(figure)


def table(rows: Sequence[Mapping]) -> Table:
    """Every number: what was looked at, the measure, and a column per method."""
    note = (
        "Value [95 % interval over patients]; a drop is the metric on intact less changed windows."
    )
    note += f" {SMALL_NOTE}." if _small(rows) else ""
    return Table(*_grid(rows), note=note, left=2)


def _grid(rows: Sequence[Mapping]) -> tuple[list[str], list[list[str]]]:
    methods = compare.methods_of(rows)
    cell = {(r["task"], r["metric"], r["method"]): _text(r) for r in rows}
    pairs = dict.fromkeys((r["task"], r["metric"]) for r in rows if compare.is_score(r))
    small = _small(rows)
    body = [
        [
            task,
            _metric(metric) + wording.SMALL * ((task, metric) in small),
            *(cell.get((task, metric, m), wording.MISSING) for m in methods),
        ]
        for task, metric in pairs
    ]
    return ["what", "measure", *map(method_text, methods)], body


def _small(rows: Sequence[Mapping]) -> set[tuple[str, str]]:
    """(task, metric) of which few test patients speak, and not none, in all or of a class."""
    few = {r["task"] for r in rows if r["metric"] == PER_CLASS and r["value"] < FEW}
    return {
        (r["task"], r["metric"])
        for r in rows
        if math.isfinite(r["value"]) and (0 < r["n"] < FEW or r["task"] in few)
    }


def _metric(metric: str) -> str:
    name, drop, change = metric.partition("_drop_")
    if drop:
        return f"{metric_text(name)}, drop when {change.replace('_', ' ')}"
    return WORDS.get(metric) or metric_text(metric)


def _text(row: Mapping) -> str:
    if not math.isfinite(row["value"]):
        return "not defined"
    text = f"{row['value']:.3g}"
    return f"{text} [{row['ci_low']:.3g}, {row['ci_high']:.3g}]" if _bounded(row) else text


def _bounded(row: Mapping) -> bool:
    return math.isfinite(row["ci_low"]) and math.isfinite(row["ci_high"])


def printed(rows: Sequence[Mapping]) -> str:
    """The table for a terminal, without the second metric of each task."""
    rows = [row for row in rows if row["metric"].split("_drop_")[0] not in SECOND]
    note = f"\n{SMALL_NOTE}." if _small(rows) else ""
    return tables.aligned(*_grid(rows)) + note
