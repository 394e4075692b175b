"""Ridge and logistic regression of any features, judged on test patients."""

from collections.abc import Sequence

import numpy as np

from tvrl_jax.probing import problem, ridge, rows, tasks
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.tasks import Task
from tvrl_jax.results import ALL


def predict(
    asked: Sequence[Task], series: dict[str, np.ndarray], feature: dict, strengths
) -> list[Prediction]:
    """Every task with all labels: fitted on train, its strength chosen on val, read on test.

    series: split -> rows of the tasks' values; feature: split -> [N, D]. The test features may be
    several matrices one below the other; the predictions then are too.
    """
    draws = [Draw(task, 1.0, 0, tasks.labelled(task.value_N[series["train"]])) for task in asked]
    return [
        prediction
        for part in problem.group(draws, series)
        for prediction in ridge.fit(feature, part, strengths=strengths)
    ]


def score(made: Sequence[Prediction], series_N, subject_N, **bootstrap) -> list[rows.Score]:
    """All metrics with their patient-level intervals, one score per task and metric."""
    scores = rows.evaluate(made, series_N, subject_N, **bootstrap)
    return [one for one in scores if one.seed == ALL]


def read(
    column: str, value: dict, subject: dict, feature: dict, strengths, **bootstrap
) -> list[rows.Score]:
    """A number of any rows read from their features. Each a dict split -> array."""
    joined, series = join(value)
    task = Task(column, "regression", (), joined.astype(np.float32))
    made = predict([task], series, feature, strengths)
    return score(made, series["test"], subject["test"], **bootstrap)


def join(value: dict) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The splits' arrays one after another, and where each of them is."""
    ends = np.cumsum([len(value[split]) for split in tasks.SPLITS])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    return np.concatenate([value[s] for s in tasks.SPLITS]), dict(
        zip(tasks.SPLITS, parts, strict=True)
    )
