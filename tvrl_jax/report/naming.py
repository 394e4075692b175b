"""How methods and metrics are called in tables, and which way is better."""

import re
from collections.abc import Iterable

LABELS = {
    "untrained": "untrained encoder",
    "constant": "constant predictor",
    "tvrl": "TVRL",
    "cvrl": "CVRL",
    "ltn": "LTN",
    "videomae": "VideoMAE",
    "csimclr": "cSimCLR",
    "csimclr_te": "cSimCLR-TE",
}

LOWER_IS_BETTER = ("mae", "brier", "ibs")
NAMES = {
    "r2": "R2",
    "mae": "MAE",
    "auroc": "AUROC",
    "average_precision": "avg. precision",
    "c_index": "C-index",
    "c_index_ipcw": "C-index (IPCW)",
    "auc": "AUC",
    "brier": "Brier score",
    "ibs": "integrated Brier score",
}
# As ":g" writes a time: a year of survival.horizons in seconds is 3.1536e+07.
HORIZON = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?")


def method_text(method: str) -> str:
    return LABELS.get(method, method)


def lower_is_better(metric: str) -> bool:
    return _horizon(metric.lower())[0] in LOWER_IS_BETTER


def metric_text(metric: str) -> str:
    """As a table writes it: "Brier score at 2.5" for brier_2.5."""
    name, horizon = _horizon(metric)
    return NAMES.get(name, name) + (f" at {horizon}" if horizon else "")


def about_horizons(metrics: Iterable[str], unit: str) -> list[str]:
    """A sentence that tells the unit of the horizons (data.time_unit; "" = not known); [] where no
    metric has one."""
    there = unit and any(_horizon(metric)[1] for metric in metrics)
    return [f'The horizon of a metric, after "at", is a time in {unit}.'] if there else []


def _horizon(metric: str) -> tuple[str, str]:
    """A metric's name, and the time at which it is taken: "" = it has none."""
    name, _, last = metric.rpartition("_")
    return (name, last) if HORIZON.fullmatch(last) else (metric, "")
