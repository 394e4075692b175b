"""What metrics.jsonl says over the steps, as one figure of small panels."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from tvrl_jax.report.style import COLOURS, STYLE, png
from tvrl_jax.scalars import is_number

COLUMNS = 3
SMOOTH_FROM = 40  # points; fewer are drawn as they are


class Panel(NamedTuple):
    title: str
    names: tuple[str, ...]  # keys of metrics.jsonl that share the panel
    scale: str = "linear"  # which then shows zero, or log
    noisy: bool = True  # draw a running mean over it


PANELS = (
    Panel("loss", ("loss", "loss_contrastive", "loss_latent")),
    Panel("finding the other view", ("top1", "top5")),
    Panel("the same with blank images", ("blank_top1", "blank_chance")),
    Panel("mean rank of the other view", ("mean_rank",), "log"),
    Panel("cosine of two embeddings", ("intra_cosine", "inter_cosine")),
    Panel("effective rank of embeddings", ("effective_rank",)),
    Panel("learning rate", ("learning_rate",), noisy=False),
    Panel("gradient norm", ("gradient_norm",), "log"),
    Panel("clips per second", ("clips_per_second",)),
    Panel("share of time waiting for data", ("data_wait_share",)),
)
LEGEND = {
    "loss": "total",
    "loss_contrastive": "contrastive",
    "loss_latent": "latent",
    "top1": "first",
    "top5": "among five",
    "blank_top1": "first",
    "blank_chance": "chance",
    "intra_cosine": "one subject",
    "inter_cosine": "two subjects",
}


@rc_context(STYLE)
def training_curves(rows: Sequence[Mapping]) -> tuple[bytes | None, list[str]]:
    """The figure, and the titles of panels of which `rows` hold nothing; no figure without any.

    With many points a metric is drawn faintly, with its running mean on top.
    """
    held = [(panel, _held(rows, panel.names)) for panel in PANELS]
    absent = [panel.title for panel, names in held if not names]
    held = [(panel, names) for panel, names in held if names]
    if not held:
        return None, absent
    lines = math.ceil(len(held) / COLUMNS)
    figure = Figure(figsize=(9.6, 2.15 * lines))
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis, (panel, names) in zip(axes, held, strict=False):
        _draw(axis, rows, names, panel.noisy)
        axis.set_title(panel.title)
        axis.xaxis.get_major_locator().set_params(integer=True)
        _scale(axis, panel.scale)
    for axis in axes[len(held) :]:
        axis.set_visible(False)
    for axis in axes[max(len(held) - COLUMNS, 0) : len(held)]:
        axis.set_xlabel("step")
    return png(figure), absent


def _held(rows: Sequence[Mapping], names: Sequence[str]) -> list[str]:
    return [name for name in names if any(is_number(row.get(name)) for row in rows)]


def _draw(axis: Axes, rows: Sequence[Mapping], names: Sequence[str], noisy: bool) -> None:
    for name, colour in zip(names, COLOURS, strict=False):
        points = [(row["step"], row[name]) for row in rows if is_number(row.get(name))]
        step_N, value_N = np.array(points, float).T
        label = LEGEND.get(name, name.replace("_", " "))
        if len(value_N) < SMOOTH_FROM or not noisy:
            marker = "." if len(value_N) < 3 else None
            axis.plot(step_N, value_N, color=colour, label=label, marker=marker)
        else:
            axis.plot(step_N, value_N, color=colour, alpha=0.25, lw=0.8)
            axis.plot(step_N, running_mean(value_N), color=colour, label=label)
    if len(names) > 1:
        axis.legend(loc="best", handlelength=1.2)


def _scale(axis: Axes, scale: str) -> None:
    if scale == "linear":
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0), max(high, 0))
    else:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())


def running_mean(value_N: np.ndarray) -> np.ndarray:
    """Centred over a twentieth of the points, over fewer at the ends."""
    kernel = np.ones(2 * (len(value_N) // 40) + 1)
    return np.convolve(value_N, kernel, "same") / np.convolve(np.ones_like(value_N), kernel, "same")
