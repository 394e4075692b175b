"""Figures of predictions, features and comparisons, as PNG bytes."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tvrl_jax.probing import ranks
from tvrl_jax.report.compare import Line
from tvrl_jax.report.naming import method_text
from tvrl_jax.report.style import BLUE, COLOURS, GREY, MARKERS, STYLE, png
from tvrl_jax.report.wording import task_text

SIDE = 3.4  # inches, of a square figure


@rc_context(STYLE)
def predicted_against_true(
    true_N: np.ndarray, predicted_N: np.ndarray, title: str, *, note: str = ""
) -> bytes:
    """A point per test case, and the line of agreement; `note` (R2, MAE) goes into a corner.

    Cases without a true value (NaN) cannot be drawn; the corner counts them.
    """
    known = np.isfinite(true_N) & np.isfinite(predicted_N)
    true, predicted = true_N[known], predicted_N[known]
    figure = Figure(figsize=(SIDE, SIDE))
    axis = figure.subplots()
    ends = _ends(np.append(true, predicted))
    axis.plot(ends, ends, color=GREY, lw=1, zorder=1)
    size = float(np.clip(3000 / max(len(true), 1), 4, 24))
    axis.scatter(true, predicted, s=size, color=BLUE, alpha=0.55, linewidths=0)
    axis.set(xlim=ends, ylim=ends, aspect="equal", title=title)
    axis.set(xlabel="true", ylabel="predicted")
    missing = "" if known.all() else f"{(~known).sum()} without a value"
    _corner(axis, (note, missing), 0.03, 0.97)
    return png(figure)


def _ends(value_N: np.ndarray) -> tuple[float, float]:
    if not len(value_N):
        return 0.0, 1.0
    low, high = float(value_N.min()), float(value_N.max())
    margin = 0.05 * (high - low or 1.0)
    return low - margin, high + margin


def _corner(axis: Axes, lines: Sequence[str], x: float, y: float) -> None:
    side = {"ha": "left", "va": "top"} if y > 0.5 else {"ha": "right", "va": "bottom"}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5}
    text = "\n".join(filter(None, lines))
    if text:
        axis.text(x, y, text, transform=axis.transAxes, fontsize=8, bbox=box, **side)


def roc_curve(positive_N: np.ndarray, score_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate at every distinct score, from (0, 0) to (1, 1)."""
    order = np.argsort(-score_N, kind="stable")
    score, positive = score_N[order], positive_N[order].astype(bool)
    last = np.append(np.diff(score) != 0, True)  # cases of equal score are called together
    true = np.cumsum(positive)[last] / max(positive.sum(), 1)
    false = np.cumsum(~positive)[last] / max((~positive).sum(), 1)
    return np.append(0.0, false), np.append(0.0, true)


@rc_context(STYLE)
def roc(
    true_N: np.ndarray,
    probability_NK: np.ndarray,
    title: str,
    *,
    classes: Sequence[str] = (),
    note: str = "",
) -> bytes:
    """ROC curve of the second of two classes, or of each class against the rest.

    `true_N` holds class codes, NaN where missing; `probability_NK` may be that of class 1 alone,
    [N]. `note` (AUROC and its interval) goes into a corner, with the number of cases.
    """
    known = np.isfinite(true_N)
    true, probability = true_N[known], probability_NK[known]
    if probability.ndim == 1:
        probability = np.stack([1 - probability, probability], axis=1)
    codes = (1,) if probability.shape[1] == 2 else tuple(range(probability.shape[1]))
    names = {code: classes[code] if code < len(classes) else f"class {code}" for code in codes}
    figure = Figure(figsize=(SIDE, SIDE))
    axis = figure.subplots()
    axis.plot((0, 1), (0, 1), color=GREY, lw=1)
    for code, colour in zip(codes, COLOURS * len(codes), strict=False):
        rates = roc_curve(true == code, ranks.of_class(probability, code))
        axis.plot(*rates, color=colour, label=f"{names[code]} ({(true == code).sum()})")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=title)
    axis.set(xlabel="1 - specificity", ylabel="sensitivity")
    if len(codes) > 1:
        axis.legend(loc="center right")
    share = f"{(true == 1).sum()} of {len(true)} are {names[1]}" if len(codes) == 1 else ""
    _corner(axis, (note, share), 0.97, 0.04)
    return png(figure)


def principal_axes(feature_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position [N, 2] on the two principal axes of the standardised features, and the share of
    variance [2] that each holds. Constant features are left as zeros."""
    centred = feature_ND.astype(np.float64) - feature_ND.mean(0)
    spread = centred.std(0)
    scaled = centred / np.where(spread > 0, spread, 1.0)
    left, strength, _ = np.linalg.svd(scaled, full_matrices=False)
    position, share = np.zeros((len(feature_ND), 2)), np.zeros(2)
    axes = min(2, len(strength))
    position[:, :axes] = left[:, :axes] * strength[:axes]
    share[:axes] = strength[:axes] ** 2 / max(float((strength**2).sum()), 1e-300)
    return position, share


@rc_context(STYLE)
def embedding_map(
    feature_ND: np.ndarray,
    target_N: np.ndarray,
    title: str,
    *,
    classes: Sequence[str] = (),
) -> bytes:
    """A point per case in the plane of `principal_axes`; `classes` make the target categorical.

    Cases without a target (NaN) are drawn in grey.
    """
    position_N2, share = principal_axes(feature_ND)
    labels = [f"axis {i + 1} ({100 * share[i]:.0f} % of variance)" for i in range(2)]
    figure = Figure(figsize=(SIDE * 1.2, SIDE))
    axis = figure.subplots()
    known = np.isfinite(target_N)
    size = float(np.clip(4000 / len(target_N), 5, 26))
    axis.scatter(*position_N2[~known].T, s=size, color="#cccccc", linewidths=0)
    if classes:
        _class_points(axis, position_N2, target_N, classes, size)
    else:
        points = axis.scatter(
            *position_N2[known].T, c=target_N[known], s=size, cmap="viridis", linewidths=0
        )
        bar = figure.colorbar(points, ax=axis, aspect=30)
        bar.outline.set_visible(False)
    axis.set(title=title, xlabel=labels[0], ylabel=labels[1], xticks=(), yticks=())
    return png(figure)


def _class_points(axis: Axes, position_N2, target_N, classes: Sequence[str], size: float) -> None:
    for code, name in enumerate(classes):
        colour, marker = COLOURS[code % len(COLOURS)], MARKERS[code % len(MARKERS)]
        points = position_N2[target_N == code].T
        axis.scatter(
            *points, s=size, color=colour, marker=marker, alpha=0.6, linewidths=0, label=name
        )
    axis.legend(loc="best", handletextpad=0.2)


@rc_context(STYLE)
def forest(
    lines: Sequence[Line],
    methods: Sequence[str],
    *,
    title: str,
    no_skill: float,
    everyone: Sequence[str] = (),
) -> bytes:
    """Value and interval of each method, a band per task; `no_skill` is marked by a line.

    `lines` are those of one metric, as from `compare.compare`. `everyone`: the methods of all
    figures of a page, so that one looks the same in each; () = those of this one.
    """
    everyone = list(everyone or methods)
    figure = Figure(figsize=(6.8, 0.7 + len(lines) * (0.12 + 0.14 * len(methods))))
    axis = figure.subplots()
    axis.axvline(no_skill, color=GREY, lw=1)
    for row in range(1, len(lines), 2):
        axis.axhspan(row - 0.5, row + 0.5, color="#f5f5f5", lw=0, zorder=0)
    step = 0.7 / len(methods)
    for index, name in enumerate(methods):
        cells = [(row, line.cells[index]) for row, line in enumerate(lines) if line.cells[index]]
        value = np.array([cell.value for _, cell in cells])
        low, high = (np.array([getattr(cell, k) for _, cell in cells]) for k in ("low", "high"))
        place = [row + (index - (len(methods) - 1) / 2) * step for row, _ in cells]
        look = everyone.index(name)
        colour, marker = COLOURS[look % len(COLOURS)], MARKERS[look % len(MARKERS)]
        axis.hlines(place, low, high, color=colour, lw=1.4)
        axis.plot(value, place, marker, color=colour, ms=4.5, label=method_text(name))
    axis.set_yticks(range(len(lines)), [task_text(line) for line in lines])
    axis.set(ylim=(len(lines) - 0.5, -0.5), title=title)
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return png(figure)
