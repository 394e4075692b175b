"""predictions_KIND.npz: what a probe predicted, kept for the report and for later comparisons.

One file per kind of probe, since several kinds may write into one folder. Of N test series:

  probe, method, cohort      text: the kind, the method that is not a baseline, the cohort
  series [N], patient [N]    text: names of the series and of their patients
  kind/TASK                  regression, classification, ...
  label/TASK [N] or [N, L]   values or class codes, NaN = missing; survival: event, duration
  clock/TASK/...             of survival: the fields of `survival.Clock`
  classes/TASK [C]           names of the class codes; empty where there are no classes
  output/METHOD/TASK         [M, N, K]: what each of M fits predicts (float64 where it ranks)
  fraction/METHOD/TASK [M], seed/METHOD/TASK [M], restart/METHOD/TASK [M]   of each fit
  prediction/METHOD/TASK [N, K]   the one that the report draws: largest fraction, seed 0
  feature/METHOD [N, D]      of a frozen encoder
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tvrl_jax.errors import UserError
from tvrl_jax.files import artefacts
from tvrl_jax.probing import survival
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.tasks import Task
from tvrl_jax.results import PREDICTIONS, kinds

FIT = ("fraction", "seed", "restart")  # what tells the fits of a method and task apart


def place(folder: str | Path, kind: str) -> Path:
    return Path(folder) / PREDICTIONS.format(kind)


def of_tasks(tasks: Sequence[Task], series: np.ndarray) -> dict[str, np.ndarray]:
    """The labels of the test series, as the file holds them."""
    made = {}
    for task in tasks:
        made[f"kind/{task.column}"] = np.array(task.kind)
        made[f"label/{task.column}"] = task.value_N[series]
        made[f"classes/{task.column}"] = np.array(task.classes, np.str_)
        if task.clock:
            fields = survival.to_arrays(task.clock)
            made |= {f"clock/{task.column}/{name}": value for name, value in fields.items()}
    return made


def of_method(method: str, predictions: Sequence[Prediction]) -> dict[str, np.ndarray]:
    """The predictions of one method, as the file holds them."""
    made = {}
    for task in dict.fromkeys(p.draw.task.column for p in predictions):
        own = [p for p in predictions if p.draw.task.column == task]
        largest = max(p.draw.fraction for p in own)
        drawn = next(p for p in own if p.draw.fraction == largest)  # the seeds are in order
        made[f"output/{method}/{task}"] = np.stack([p.test_NK for p in own])
        for what in FIT:
            made[f"{what}/{method}/{task}"] = np.array([getattr(p.draw, what) for p in own])
        made[f"prediction/{method}/{task}"] = drawn.test_NK
    return made


def read(folder: str | Path, kind: str) -> Mapping[str, np.ndarray]:
    """The arrays of a file. UserError: the folder holds no predictions of this kind."""
    path = place(folder, kind)
    if not path.is_file():
        there = ", ".join(kinds(folder)) or "none"
        raise UserError(
            f'{path} does not exist: no "{kind}" probe was run into this folder (there: {there}).'
        )
    return artefacts.read_arrays(path)
