"""The report's pictures: predictions, features, training curves and augmented clips."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tvrl_jax.report import compare, curves, pictures, plots, wording
from tvrl_jax.report.naming import method_text, metric_text
from tvrl_jax.report.page import Fold, Gallery, Picture, Section, Table, Text
from tvrl_jax.results import BASELINES
from tvrl_jax.scalars import is_number


def sections(material) -> list[Section]:
    """`material` as from `html.gather`."""
    return [
        predictions(material.predictions, material.results),
        embedding(material.predictions.values()),
        training(material.metrics),
        augmented(material.augmented),
    ]


def tasks_of(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Tasks with one number as their label, in the file's order."""
    labels = [name for name in arrays if name.startswith("label/") and arrays[name].ndim == 1]
    return [name.removeprefix("label/") for name in labels]


def methods_of(arrays: Mapping[str, np.ndarray], kind: str) -> list[str]:
    """Methods with a `kind` ("prediction" or "feature"), baselines last."""
    found = [name.split("/")[1] for name in arrays if name.startswith(f"{kind}/")]
    return sorted(dict.fromkeys(found), key=lambda name: name in BASELINES)


def predictions(kept: Mapping[str, Mapping], results: Sequence[Mapping]) -> Section:
    """`kept`: kind of probe -> its arrays. The first of the results is shown, others folded."""
    title = "Predictions"
    probes = probes_of(kept, results)
    if not probes:
        return Section(title, [Text("No predictions_PROBE.npz: no predictions were kept.")])
    parts = _predictions(kept[probes[0]], probes[0], results)
    parts += [
        Fold(f"The same, {probe} probe", _predictions(kept[probe], probe, results))
        for probe in probes[1:]
    ]
    return Section(title, parts)


def probes_of(kept: Mapping[str, Mapping], results: Sequence[Mapping]) -> list[str]:
    """The kinds of probe that kept predictions of one number, in the order of the results."""
    order = [probe for probe, _ in compare.settings_of(results)]
    found = [
        probe
        for probe, arrays in kept.items()
        if methods_of(arrays, "prediction") and tasks_of(arrays)
    ]
    return sorted(found, key=lambda probe: order.index(probe) if probe in order else len(order))


def _predictions(arrays: Mapping[str, np.ndarray], probe: str, results) -> list:
    method = methods_of(arrays, "prediction")[0]
    made = [_prediction(arrays, method, probe, task, results) for task in tasks_of(arrays)]
    caption = (
        f"{method_text(method)}, {probe} probe, seed 0, on the test series: a point is a series. "
        "The numbers in the corners are those of the table, over all seeds."
    )
    return [Gallery([p for p in made if p]), Text(caption, quiet=True)]


def _prediction(arrays, method: str, probe: str, task: str, results) -> Picture | None:
    output_NK = arrays.get(f"prediction/{method}/{task}")
    if output_NK is None:
        return None
    true_N = arrays[f"label/{task}"].astype(float)
    note = "\n".join(_scores(results, method, probe, task))
    classes = _classes(arrays, task)
    if classes:
        figure = plots.roc(true_N, output_NK, task, classes=classes, note=note)
        return Picture(figure, f"{task}: ROC curve. {note}")
    predicted_N = output_NK.reshape(len(true_N)).astype(float)
    figure = plots.predicted_against_true(true_N, predicted_N, task, note=note)
    return Picture(figure, f"{task}: predicted against true. {note}")


def _classes(arrays: Mapping[str, np.ndarray], task: str) -> tuple[str, ...]:
    """Names of the classes; () for a regression task."""
    return tuple(map(str, arrays.get(f"classes/{task}", ())))


def _scores(results: Sequence[Mapping], method: str, probe: str, task: str) -> list[str]:
    """Metric, value and interval where most labels are used."""
    fractions = [fraction for name, fraction in compare.settings_of(results) if name == probe]
    methods = compare.columns_of(results, probe, max(fractions)) if fractions else []
    if method not in methods:
        return []
    # All methods, although one is shown: the digits are then those of the table.
    lines = compare.compare(results, methods, max(fractions), probe=probe)
    column = methods.index(method)
    return [
        f"{metric_text(line.metric)} {wording.line_texts(line)[column]}"
        for line in lines
        if line.task == task and line.cells[column]
    ]


def embedding(kept: Iterable[Mapping[str, np.ndarray]]) -> Section:
    """Of the first probe that kept features and a label to colour them by: they are all alike."""
    title = "Maps of the features"
    found = (arrays for arrays in kept if methods_of(arrays, "feature") and tasks_of(arrays))
    arrays = next(found, {})
    methods = methods_of(arrays, "feature")
    if not methods:
        missing = "No features with a label of one number in predictions_PROBE.npz: no map."
        return Section(title, [Text(missing)])
    caption = (
        f"{method_text(methods[0])}: the test series on the principal axes of their standardised "
        "features. A gradient of colour means that a target is among the features' largest "
        "variations; without one it may still be readable from others."
    )
    parts = [_maps(arrays, methods[0]), Text(caption, quiet=True)]
    parts += [Fold(f"The same, {method_text(name)}", [_maps(arrays, name)]) for name in methods[1:]]
    return Section(title, parts)


def _maps(arrays: Mapping[str, np.ndarray], method: str) -> Gallery:
    made = []
    for task in tasks_of(arrays):
        figure = plots.embedding_map(
            arrays[f"feature/{method}"],
            arrays[f"label/{task}"].astype(float),
            task,
            classes=_classes(arrays, task),
        )
        made.append(
            Picture(figure, f"Map of the features, {method_text(method)}, coloured by {task}")
        )
    return Gallery(made)


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
    views = clips.shape[1]
    above = f", its {views} views one above the other" if views > 1 else ""
    caption = (
        f"{len(clips)} augmented clips of the first step, four frames of each{above}. "
        "All frames of a view share one draw."
    )
    frames = clips.reshape(*clips.shape[:-3], -1)
    caption += " A black frame is padding." if (frames == 0).all(-1).any() else ""
    return Section(title, [Picture(pictures.sheet(clips), caption, caption, plot=False)])
