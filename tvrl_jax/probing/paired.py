"""Two encoders on the same test patients: their difference, its interval and its probability.

The metric of each is computed on the same resampled patients, so that what is hard about a patient
cancels. Everything is read from predictions_KIND.npz; no encoder is needed.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError, nearest
from tvrl_jax.probing import predictions, rows, survival
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.tasks import Task
from tvrl_jax.results import MINUS

LOG = logging.getLogger("tvrl_jax")


class Measured(NamedTuple):
    """One method of one probe folder. N test series; the tasks hold the labels of these alone."""

    name: str  # as it appears in "A - B"; `_replace` it where both are called alike
    folder: str  # for messages
    cohort: str
    probe: str
    series_N: np.ndarray  # names
    patient_N: np.ndarray  # names
    tasks: dict[str, Task]
    predictions: list[Prediction]


def load(folder: str | Path, probe: str, *, method: str = "") -> Measured:
    """Reads what the `probe` kind left in `folder`, of its encoder or of the named baseline.

    Raises:
      UserError: no predictions of this kind, no such method in them, or a file that no probe wrote.
    """
    arrays = predictions.read(folder, probe)
    try:
        found = _measured(arrays, folder, probe, method)
        _check(found)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise UserError(
            f"{predictions.place(folder, probe)} does not hold what a probe keeps "
            f"({type(error).__name__}: {error}); run that probe again."
        ) from error
    if any(_rounded(p) for p in found.predictions):
        LOG.warning(
            "%s is from before ranks were kept in float64: what it predicts of very sure or very "
            "similar series may tie; run that probe again.",
            predictions.place(folder, probe),
        )
    return found


def _rounded(p: Prediction) -> bool:
    return p.draw.task.kind != "regression" and p.test_NK.dtype == np.float32


def _measured(arrays, folder: str | Path, probe: str, method: str) -> Measured:
    method = method or str(arrays["method"])
    known = sorted({name.split("/")[1] for name in arrays if name.startswith("output/")})
    if method not in known:
        path = predictions.place(folder, probe)
        raise UserError(f'{path} holds no method "{method}".{nearest(method, known)}')
    tasks = {name: _task(arrays, name) for name in _under(arrays, f"output/{method}/")}
    made = [p for name, task in tasks.items() for p in _predictions(arrays, method, name, task)]
    names = (str(arrays["cohort"]), str(arrays["probe"]), arrays["series"], arrays["patient"])
    return Measured(method, str(folder), *names, tasks, made)


def _check(found: Measured) -> None:
    """ValueError for arrays that do not fit each other."""
    series = len(found.series_N)
    if len(found.patient_N) != series:
        raise ValueError(f"{series} series and {len(found.patient_N)} patients")
    for task in found.tasks.values():
        if len(task.value_N) != series:
            raise ValueError(f"{len(task.value_N)} labels of {task.column} for {series} series")
    for p in found.predictions:
        task, shape = p.draw.task, p.test_NK.shape
        of_class = p.test_NK.shape[1:] == (len(task.classes),)
        if len(shape) != 2 or len(p.test_NK) != series or (task.classes and not of_class):
            raise ValueError(f"predictions of {task.column} are {shape}")
        if not np.isfinite(p.test_NK).all():
            raise ValueError(f"a prediction of {task.column} is not finite")


def _under(arrays, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in arrays if name.startswith(prefix)]


def _task(arrays, name: str) -> Task:
    classes = tuple(map(str, arrays[f"classes/{name}"]))
    prefix = f"clock/{name}/"
    clock = survival.from_arrays({k: arrays[prefix + k] for k in _under(arrays, prefix)})
    return Task(name, str(arrays[f"kind/{name}"]), classes, arrays[f"label/{name}"], clock)


def _predictions(arrays, method: str, name: str, task: Task) -> list[Prediction]:
    output_MNK, *fits = (arrays[f"{what}/{method}/{name}"] for what in ("output", *predictions.FIT))
    unknown_N = np.zeros(0, bool)  # the training rows are not kept
    return [
        Prediction(Draw(task, float(fraction), int(seed), unknown_N, int(restart)), output_NK, {})
        for output_NK, fraction, seed, restart in zip(output_MNK, *fits, strict=True)
    ]


def differences(a: Measured, b: Measured, *, samples: int, seed: int) -> list[dict]:
    """Rows of method "A - B": METRIC of a minus that of b, and METRIC_p, as `rows.differences`.

    Each metric is the mean over the seeds of its own method, so their numbers may differ. With the
    `samples` and `seed` of the probe, the resamples are those behind its results.csv.

    Raises:
      UserError: test patients, tasks, labels or fractions are not the same.
    """
    b = aligned(a, b)
    asked = dict(samples=samples, seed=seed)
    names = dict(method=a.name + MINUS + b.name, cohort=a.cohort, probe=a.probe)
    return rows.differences(scores(a, **asked), scores(b, **asked), **names)


def scores(measured: Measured, *, samples: int, seed: int) -> list[rows.Score]:
    """All metrics of one method with its resamples, as `rows.evaluate`."""
    every_N = np.arange(len(measured.series_N))
    made = measured.predictions
    return rows.evaluate(made, every_N, measured.patient_N, samples=samples, seed=seed)


def aligned(a: Measured, b: Measured) -> Measured:
    """`b` with its test series in the order of `a`. UserError where the two cannot be compared."""
    _same_names(a, b, "test patient", a.patient_N, b.patient_N)
    _same_names(a, b, "test series", _series(a), _series(b))
    place = {name: i for i, name in enumerate(_series(b))}
    order_N = np.array([place[name] for name in _series(a)])
    _same_names(a, b, "task", a.tasks, b.tasks)
    tasks = {name: task._replace(value_N=task.value_N[order_N]) for name, task in b.tasks.items()}
    for name, task in a.tasks.items():
        _same_labels(a, b, task, tasks[name])
    _same_names(a, b, "label fraction", _fractions(a), _fractions(b))
    made = [
        p._replace(draw=p.draw._replace(task=tasks[p.draw.task.column]), test_NK=p.test_NK[order_N])
        for p in b.predictions
    ]
    return b._replace(
        series_N=a.series_N, patient_N=b.patient_N[order_N], tasks=tasks, predictions=made
    )


def _series(measured: Measured) -> list[str]:
    pairs = zip(measured.series_N, measured.patient_N, strict=True)
    return [f"{series} of patient {patient}" for series, patient in pairs]


def _fractions(measured: Measured) -> list[str]:
    """To the last digit: what the rows of both sides are found by."""
    return [f"{float(p.draw.fraction)} of {p.draw.task.column}" for p in measured.predictions]


def _same_names(a: Measured, b: Measured, what: str, of_a: Sequence, of_b: Sequence) -> None:
    """The same set on both sides, in whichever order."""
    for one, other, mine, theirs in ((a, b, of_a, of_b), (b, a, of_b, of_a)):
        there = set(theirs)
        absent = next((name for name in mine if name not in there), None)
        if absent is not None:
            raise UserError(
                f'{what.capitalize()} "{absent}" of {one.folder} ({one.name}) is not in '
                f"{other.folder} ({other.name}); only what was measured on the same test patients, "
                "tasks and fractions can be compared."
            )


def _same_labels(a: Measured, b: Measured, of_a: Task, of_b: Task) -> None:
    what = f'Task "{of_a.column}"'
    for field in ("kind", "classes"):
        mine, theirs = getattr(of_a, field), getattr(of_b, field)
        if mine != theirs:
            raise UserError(
                f"{what}: {field} is {mine} in {a.folder} and {theirs} in {b.folder}; "
                "they must agree for a comparison."
            )
    if not survival.same(of_a.clock, of_b.clock):
        raise UserError(
            f"{what}: {a.folder} and {b.folder} differ in survival.horizons, tau or grid, or one "
            "is from before test series were weighted by their own censoring, and not by that of "
            "the training split; they must agree for a comparison: run the older probe again."
        )
    same_N = (of_a.value_N == of_b.value_N) | (np.isnan(of_a.value_N) & np.isnan(of_b.value_N))
    wrong = np.flatnonzero(~same_N.reshape(len(same_N), -1).all(1))
    if len(wrong):
        i = wrong[0]
        raise UserError(
            f'{what}: the label of test series "{a.series_N[i]}" (patient "{a.patient_N[i]}") is '
            f"{of_a.value_N[i]} in {a.folder} and {of_b.value_N[i]} in {b.folder}; "
            "they must agree for a comparison."
        )
