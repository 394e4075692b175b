"""A number about time with its interval, and the row of results.csv that holds it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import intervals, rows, stats
from tvrl_jax.results import ALL, PER_CLASS, TEMPORAL


class Measured(NamedTuple):
    task: str  # what is looked at
    metric: str
    interval: intervals.Interval | intervals.Difference
    patients: int
    per_class: float = np.nan  # those of the smallest class; NaN where there are no classes


def ratio(
    task: str, metric: str, top_N, bottom_N, subject_N, *, samples: int, seed: int
) -> Measured:
    """Sum of top / sum of bottom over the series, resampled by patient.

    A series for which either is NaN is left out. Without any the value is NaN.
    """
    known_N = np.isfinite(top_N) & np.isfinite(bottom_N)
    if not known_N.any():
        return alone(task, metric, np.nan, 0)
    top_N, bottom_N, subject_N = top_N[known_N], bottom_N[known_N], subject_N[known_N]
    patients = len(np.unique(subject_N))
    if patients < 2:  # each resample of one patient is this patient again
        return alone(task, metric, float(_divide(top_N.sum(), bottom_N.sum())), patients)
    weight_RN = stats.resample(subject_N, samples=samples, seed=seed)
    value = _divide(top_N.sum(), bottom_N.sum())
    sample_R = _divide(weight_RN @ top_N, weight_RN @ bottom_N)
    made = intervals.interval(metric, value, sample_R, smallest=stats.effective(subject_N))
    return Measured(task, metric, made, patients)


def _divide(top, bottom):
    """NaN where nothing is divided by."""
    return np.where(bottom != 0, top, np.nan) / np.where(bottom != 0, bottom, 1)


def mean(task: str, metric: str, value_N, subject_N, *, samples: int, seed: int) -> Measured:
    """Mean over the series, resampled by patient; see `ratio`."""
    ones_N = np.ones(len(value_N))
    return ratio(task, metric, value_N, ones_N, subject_N, samples=samples, seed=seed)


def alone(task: str, metric: str, value: float, patients: int) -> Measured:
    """A number without an interval."""
    return Measured(task, metric, intervals.Interval(float(value), np.nan, np.nan, 0), patients)


def of_score(score: rows.Score) -> Measured:
    """A metric of predictions, under the name of its task."""
    name = score.task.column
    return Measured(name, score.metric, score.interval, score.patients, score.per_class)


def find(found: Sequence[Measured], task: str, metric: str) -> float | None:
    """The value of a measure; None where it was not taken or is not defined."""
    values = [m.interval.value for m in found if (m.task, m.metric) == (task, metric)]
    return values[0] if values and np.isfinite(values[0]) else None


def table(found: Sequence[Measured], *, method: str, cohort: str) -> list[dict]:
    """Rows with the columns of results.csv; all labels, and one fit, whose start is not random.

    A task with classes has a row besides that counts the test patients of the smallest.
    """
    smallest = {one.task: one for one in found if np.isfinite(one.per_class)}
    counts = [alone(one.task, PER_CLASS, one.per_class, one.patients) for one in smallest.values()]
    return [_row(one, method, cohort) for one in (*found, *counts)]


def _row(one: Measured, method: str, cohort: str) -> dict:
    return {
        "method": method,
        "cohort": cohort,
        "task": one.task,
        "probe": TEMPORAL,
        "fraction": 1.0,
        "seed": ALL,
        "metric": one.metric,
        "value": float(one.interval.value),
        "ci_low": float(one.interval.low),
        "ci_high": float(one.interval.high),
        "n": one.patients,
    }
