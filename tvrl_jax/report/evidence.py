"""The report's pictures: predictions, features, training curves and augmented clips."""

from collections.abc import Mapping, Sequence

import numpy as np

from tvrl_jax.report import compare, curves, pictures, plots
from tvrl_jax.report.page import Fold, Gallery, Picture, Section, Table, Text
from tvrl_jax.report.scalars import is_number


def sections(material, cine: bytes) -> list[Section]:
    """`material` as from `html.gather`."""
    return [
        predictions(material.predictions, material.results),
        embedding(material.predictions),
        training(material.metrics),
        augmented(material.augmented),
        synthetic(cine),
    ]


def tasks_of(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Tasks with a true value, in the file's order."""
    return [name.removesuffix("/true") for name in arrays if name.endswith("/true")]


def predictions(arrays: Mapping[str, np.ndarray], results: Sequence[Mapping]) -> Section:
    title = "Predictions"
    if not arrays:
        return Section(title, [Text("No predictions.npz: no predictions were kept.")])
    made = [_prediction(arrays, task, results) for task in tasks_of(arrays)]
    about = f"Drawn: {_text(arrays, 'about')}. " if _text(arrays, "about") else ""
    caption = f"{about}A point is a test series; the numbers in the corners are those of the table."
    return Section(title, [Gallery([p for p in made if p]), Text(caption, quiet=True)])


def _text(arrays: Mapping[str, np.ndarray], name: str) -> str:
    return str(arrays[name]) if name in arrays else ""


def _prediction(arrays, task: str, results: Sequence[Mapping]) -> Picture | None:
    true = arrays[f"{task}/true"].astype(float)
    note = "\n".join(_scores(results, task))
    if f"{task}/pred" in arrays:
        predicted, unit = arrays[f"{task}/pred"].astype(float), _text(arrays, f"{task}/unit")
        figure = plots.predicted_against_true(true, predicted, task, unit=unit, note=note)
        return Picture(figure, f"{task}: predicted against true. {note}")
    if f"{task}/prob" in arrays:
        probability, classes = arrays[f"{task}/prob"], _classes(arrays, task)
        figure = plots.roc(true, probability, task, classes=classes, note=note)
        return Picture(figure, f"{task}: ROC curve. {note}")
    return None


def _classes(arrays: Mapping[str, np.ndarray], task: str) -> tuple[str, ...]:
    """Names of the classes; their codes where the file holds none; () for a regression task."""
    if f"{task}/classes" in arrays:
        return tuple(map(str, arrays[f"{task}/classes"]))
    if f"{task}/prob" not in arrays:
        return ()
    true = arrays[f"{task}/true"].astype(float)
    return tuple(f"class {code}" for code in range(int(np.nanmax(true, initial=1)) + 1))


def _scores(results: Sequence[Mapping], task: str) -> list[str]:
    """Metric, value and interval of the first method, where most labels are used."""
    if not results:
        return []
    probe, fraction = compare.settings_of(results)[0]
    # All methods, although one is shown: the digits are then those of the table.
    lines = compare.compare(results, compare.methods_of(results), fraction, probe=probe)
    return [
        f"{compare.NAMES.get(line.metric, line.metric)} {compare.line_texts(line)[0]}"
        for line in lines
        if line.task == task and line.cells[0]
    ]


def embedding(arrays: Mapping[str, np.ndarray]) -> Section:
    title = "The features of the test series"
    if "features" not in arrays:
        return Section(title, [Text("No features in predictions.npz: no map can be drawn.")])
    made = []
    for task in tasks_of(arrays):
        true, classes = arrays[f"{task}/true"].astype(float), _classes(arrays, task)
        figure = plots.embedding_map(
            arrays["features"], true, task, unit=_text(arrays, f"{task}/unit"), classes=classes
        )
        made.append(Picture(figure, f"Map of the features, coloured by {task}"))
    caption = (
        "Principal axes of the standardised features. A colour gradient means that a target is "
        "among the features' largest variations; without one it may still be readable from others."
    )
    return Section(title, [Gallery(made), Text(caption, quiet=True)])


def training(metrics: Sequence[Mapping]) -> Section:
    title = "Training"
    figure, absent = curves.training_curves(metrics)
    if not metrics or figure is None:
        return Section(title, [Text("No metrics.jsonl: no training was recorded here.")])
    parts = [Picture(figure, "Training curves; first and last values are in the table below")]
    if absent:
        parts.append(Text(f"Not recorded by this run: {', '.join(absent)}.", quiet=True))
    return Section(title, [*parts, Fold("First and last values", [_ends(metrics)])])


def _ends(metrics: Sequence[Mapping]) -> Table:
    names = dict.fromkeys(name for row in metrics for name in row if name != "step")
    rows = []
    for name in names:
        held = [row for row in metrics if is_number(row.get(name))]
        if held:
            values = [row[name] for row in held]
            numbers = (values[0], values[-1], min(values), max(values))
            rows.append([name, str(held[-1]["step"]), *(f"{v:.4g}" for v in numbers)])
    return Table(("metric", "last step", "first", "last", "lowest", "highest"), rows)


def augmented(clips: np.ndarray | None) -> Section:
    title = "What the encoder is shown"
    if clips is None:
        return Section(title, [Text("No samples.npz: no augmented clips were kept.")])
    views = clips.shape[1] if clips.ndim == 6 else 1
    above = f", its {views} views one above the other" if views > 1 else ""
    caption = (
        f"{len(clips)} augmented clips of the first step, four frames of each{above}. "
        "All frames of a view share one draw."
    )
    return Section(title, [Picture(pictures.sheet(clips), caption, caption, plot=False)])


def synthetic(cine: bytes) -> Section:
    if not cine:
        return Section("", [])
    alt = "Frames of a cine above its volume curve"
    return Section("The synthetic cohort", [Picture(cine, alt, alt + ".")])
