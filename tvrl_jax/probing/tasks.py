"""What is asked of the features: one column of the cohort table per task."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.data.split import SPLITS
from tvrl_jax.data.targets import Target, labels, parse_targets
from tvrl_jax.errors import UserError, shorten
from tvrl_jax.probing import survival

# Not "choose another split": patients whom the encoder has seen would be tested.
OTHERWISE = (
    "leave it out of config.data.targets, or pretrain with another split (data.columns.split or "
    "data.split_seed)"
)


class Task(NamedTuple):
    column: str
    kind: str  # regression, classification or survival
    classes: tuple[str, ...]  # names of the codes; () where there are none
    # Float32, one per series of the store, NaN = missing: value or class code; [N, 2] for
    # survival: event (0 or 1) and duration in data.time_unit.
    value_N: np.ndarray
    clock: survival.Clock | None = None  # of survival alone


def asked(probe: Sequence[str], pretraining: Sequence[str]) -> Sequence[str]:
    """Targets of a probe from its data.targets: () = those of pretraining, ("none",) = none."""
    return () if tuple(probe) == ("none",) else probe or pretraining


def load(store, specs: Sequence[str]) -> tuple[Task, ...]:
    """The tasks of a store. UserError: no targets, a column that is absent, a useless split."""
    check_splits(store)
    if not specs:
        raise UserError('No targets to probe: set data.targets, for example ("LVEF:regression",).')
    tasks = tuple(_task(store, target) for target in parse_targets(specs, store.text, store.where))
    for task in tasks:
        for split in SPLITS:
            _check(task, split, task.value_N[store.split(split)])
    return tasks


def load_survival(store, *, horizons, tau: float, grid: int) -> tuple[Task, ...]:
    """The time to the event that the cohort's columns tell of; see `survival.Clock`.

    Raises:
      UserError: no columns are mapped, an outcome is impossible, a split holds fewer than two
        events, or a horizon lies outside what the test split tells.
    """
    check_splits(store)
    value_N2 = store.outcomes()
    if value_N2 is None:
        raise UserError(
            "This kind of probe needs the time to an event: set data.columns.event (1 = observed, "
            "0 = censored) and data.columns.duration."
        )
    column = store.columns["event"]
    known = {split: value_N2[store.split(split)] for split in SPLITS}
    known = {split: own_N2[labelled(own_N2)] for split, own_N2 in known.items()}
    for split, own_N2 in known.items():
        if (own_N2[:, 0] == 1).sum() < 2:
            raise UserError(
                f'Column "{column}" tells of {int((own_N2[:, 0] == 1).sum())} events in the '
                f"{split} split; each split needs at least two."
            )
    settings = dict(horizons=horizons, tau=tau, grid=grid, column=column, unit=store.time_unit)
    clock = survival.make_clock(known["test"], **settings)
    return (Task(column, "survival", (), value_N2, clock),)


def check_splits(store) -> None:
    """UserError for a split without any series."""
    for split in SPLITS:
        if not len(store.split(split)):
            raise UserError(
                f"{store.where} has no series in the {split} split; each split needs some patients."
            )


def check_classes(store, tasks: Sequence[Task]) -> None:
    """UserError for a class that no training patient has: nothing could learn it."""
    train = store.split("train")
    for task in tasks:
        codes = range(len(task.classes))
        unknown = [code for code in codes if not (task.value_N[train] == code).any()]
        if unknown:
            row = store.text.index[np.argmax(task.value_N == unknown[0])]
            known = [f'"{shorten(task.classes[code])}"' for code in codes if code not in unknown]
            raise UserError(
                f'{store.where}, row {row}, column "{task.column}": no training patient is of '
                f'class "{shorten(task.classes[unknown[0]])}"; leave the cells of this class '
                f"empty, or give them the name of one that is trained ({', '.join(known[:5])})."
            )


def _task(store, target: Target) -> Task:
    value_N, names = labels(target, store.text, store.where)
    return Task(target.column, target.kind, names, value_N.astype(np.float32))


def _check(task: Task, split: str, value_N: np.ndarray) -> None:
    """A split must hold something to learn or to tell apart."""
    present = np.unique(value_N[np.isfinite(value_N)])
    if len(present) >= 2:
        return
    if not len(present):
        raise UserError(f'Column "{task.column}" is empty in the {split} split; {OTHERWISE}.')
    what = task.classes[int(present[0])] if task.classes else f"{present[0]:g}"
    raise UserError(
        f'Column "{task.column}" holds only "{what}" in the {split} split, and each split needs '
        f"at least two different values; {OTHERWISE}."
    )


def outputs(task: Task) -> int:
    """Width of the head: one for regression, one per class otherwise."""
    return len(task.classes) or 1


def labelled(value_N: np.ndarray) -> np.ndarray:
    """Bool [N]: the series whose label is whole; a label may be several numbers, [N, L]."""
    return np.isfinite(value_N).reshape(len(value_N), -1).all(1)


def groups(task: Task, value_N: np.ndarray) -> dict[str, np.ndarray]:
    """Each kind of series that must not be too rare -> bool [N]; none for a regression."""
    if task.kind == "survival":
        return {"event": value_N[:, 0] == 1}
    return {name: value_N == code for code, name in enumerate(task.classes)}


def counts(task: Task, series: np.ndarray) -> str:
    """How many of these series are of each group, in words; "" of a regression."""
    found = groups(task, task.value_N[series])
    return ", ".join(f'"{shorten(name)}" {own_N.sum()}' for name, own_N in found.items())


def missing(task: Task) -> int:
    return int(np.sum(~labelled(task.value_N)))


def scale(value_N: np.ndarray, used_N: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the labels in use; 1 where they are all equal."""
    value = value_N[used_N].astype(np.float64)
    return float(value.mean()), float(value.std()) or 1.0
