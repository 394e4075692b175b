"""What is asked of the features: one column of the cohort table per task."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError, nearest

KINDS = ("regression", "classification")
SPLITS = ("train", "val", "test")


class Task(NamedTuple):
    column: str
    kind: str  # regression or classification
    classes: tuple[str, ...]  # names of the codes; () for regression
    value_N: np.ndarray  # float32, one per series of the store: value or class code, NaN = missing


def parse(spec: str) -> tuple[str, str]:
    """`"LVEF:regression"` -> `("LVEF", "regression")`; UserError when it is neither kind."""
    column, _, kind = spec.rpartition(":")
    if not column or kind not in KINDS:
        raise UserError(
            f'data.targets holds "{spec}"; write "COLUMN:regression" or "COLUMN:classification".'
        )
    return column, kind


def load(store, specs: Sequence[str]) -> tuple[Task, ...]:
    """The tasks of a store. UserError: no targets, a column that is absent, a useless split."""
    if not specs:
        raise UserError('No targets to probe: set data.targets, for example ("LVEF:regression",).')
    tasks = tuple(_task(store, *parse(spec)) for spec in specs)
    for task in tasks:
        for split in SPLITS:
            _check(task, split, task.value_N[store.split(split)])
    return tasks


def _task(store, column: str, kind: str) -> Task:
    if column not in store.table.columns:
        raise UserError(
            f'The cohort table has no column "{column}", named in data.targets.'
            + nearest(column, map(str, store.table.columns))
        )
    classes = tuple(map(str, store.classes(column))) if kind == "classification" else ()
    return Task(column, kind, classes, np.asarray(store.targets((column,)), np.float32)[:, 0])


def _check(task: Task, split: str, value_N: np.ndarray) -> None:
    """A split must hold something to learn or to tell apart."""
    present = np.unique(value_N[np.isfinite(value_N)])
    if len(present) >= 2:
        return
    if not len(present):
        raise UserError(f'Column "{task.column}" is empty in the {split} split.')
    what = task.classes[int(present[0])] if task.classes else f"{present[0]:g}"
    raise UserError(
        f'Column "{task.column}" holds only "{what}" in the {split} split; '
        "each split needs at least two different values."
    )


def outputs(task: Task) -> int:
    """Width of the head: one for regression, one per class otherwise."""
    return len(task.classes) or 1


def missing(task: Task) -> int:
    return int(np.isnan(task.value_N).sum())


def scale(value_N: np.ndarray, used_N: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the labels in use; 1 where they are all equal."""
    value = value_N[used_N].astype(np.float64)
    return float(value.mean()), float(value.std()) or 1.0
