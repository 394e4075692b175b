"""Which patients a probe may learn from."""

import math
from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError
from tvrl_jax.probing.tasks import Task, groups, labelled

NAME = {"regression": "", "classification": ' of class "{}"', "survival": " with an event"}
RESTART = 100_000  # between the start seeds of two restarts of a draw; more than draws there are


class Draw(NamedTuple):
    task: Task
    fraction: float
    seed: int
    used_N: np.ndarray  # bool over the training series
    restart: int = 0  # the same patients, learnt from once more

    @property
    def start(self) -> int:
        """Seed of all that is random in a fit: initial head, order of rows, windows, dropout.

        No two (seed, restart) share one, so restarts are nested in draws.
        """
        return self.seed + RESTART * self.restart


def draws(tasks, series_N, subject_N, *, fractions, seeds: int, restarts: int = 1) -> list[Draw]:
    """Every (task, fraction, seed, restart); series_N and subject_N are of the training split."""
    check_fractions(tasks, series_N, subject_N, fractions)
    return [
        Draw(task, fraction, seed, used_N, restart)
        for task in tasks
        for fraction in fractions
        for seed in range(seeds)
        for used_N in [draw(task, series_N, subject_N, fraction=fraction, seed=seed)]
        for restart in range(restarts)
    ]


def draw(task: Task, series_N, subject_N, *, fraction: float, seed: int) -> np.ndarray:
    """used_N: the series of a seeded share of the labelled patients.

    Classes are drawn one by one (stratified), and so are patients with and without an event; a
    patient with series of several classes (two eyes) counts for the rarest. A smaller fraction of
    one seed is contained in a larger one, because both are the beginning of one shuffled list.
    A class that only patients of rarer ones have gets one of them besides, where none was drawn.
    UserError as from `check_fractions`.
    """
    check_fractions((task,), series_N, subject_N, (fraction,))
    value_N = task.value_N[series_N]
    labelled_N = labelled(value_N)
    patient_P, stratum_P, names, _ = _stratify(task, series_N, subject_N)
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(patient_P[stratum_P == k]) for k in range(len(names))]
    kept = [patients[: _share(fraction, len(patients))] for patients in shuffled]
    drawn_N = labelled_N & np.isin(subject_N, np.concatenate(kept))
    absent = [own_N for own_N in groups(task, value_N).values() if not (own_N & drawn_N).any()]
    added = [_next(shuffled, subject_N[own_N]) for own_N in absent]
    return drawn_N | (labelled_N & np.isin(subject_N, added))


def _next(shuffled, patients: np.ndarray):
    """Who of the patients is drawn first as the fraction grows, so that a larger one has them."""
    turns = [np.arange(1, len(own) + 1) - 0.5 for own in shuffled]
    turn_P = np.concatenate([turn / max(len(turn), 1) for turn in turns])
    own_P = np.concatenate(shuffled)
    return own_P[np.argmin(np.where(np.isin(own_P, patients), turn_P, np.inf))]


def _stratify(task: Task, series_N, subject_N):
    """Labelled patients [P], the stratum of each [P], the strata's names, patients who have it."""
    value_N = task.value_N[series_N]
    labelled_N = labelled(value_N)
    patient_P = np.unique(subject_N[labelled_N])
    own = {"": labelled_N} | groups(task, value_N)
    has_KP = np.stack([np.isin(patient_P, subject_N[mask_N]) for mask_N in own.values()])
    return patient_P, _strata(has_KP), list(own), has_KP.sum(1)


def _strata(has_KP: np.ndarray) -> np.ndarray:
    """The rarest class among those that each patient has; of two alike the one that comes last."""
    stratum_P = np.zeros(has_KP.shape[1], int)
    for code in np.argsort(-has_KP.sum(1), kind="stable"):
        stratum_P[has_KP[code]] = code
    return stratum_P


def _share(fraction: float, patients: int) -> int:
    return math.floor(fraction * patients + 0.5)


def check_fractions(tasks, series_N, subject_N, fractions) -> None:
    """Every fraction must leave each class a patient; a regression, and those with an event, two.

    UserError for one that does not, with the fractions that would do for all tasks.
    """
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise UserError(
                f"config.fractions holds {fraction:g}; a label fraction lies in (0, 1]."
            )
    rarest = [_rarest(task, series_N, subject_N) for task in tasks]
    task, stratum, patients = max(rarest, key=lambda one: (_needed(one[0]) - 0.5) / one[2])
    left = _share(min(fractions), patients)
    if left < _needed(task):
        least = smallest((patients,), _needed(task))
        mended = tuple(sorted({max(fraction, least) for fraction in fractions}))
        raise UserError(
            f'Column "{task.column}": config.fractions holds {min(fractions):g}, which leaves '
            f"{left} of {patients} training patients{stratum}, {_needed(task)} must be left; "
            f'the smallest usable fraction is {least:g}: --config.fractions="{mended}".'
        )


def _rarest(task: Task, series_N, subject_N) -> tuple[Task, str, int]:
    """The task, its rarest stratum in words, and the patients that are drawn for it.

    "" is the rest, of which only a regression needs any. A class that only patients of rarer ones
    have is drawn with them, or else added (`draw`).
    """
    _, stratum_P, names, having_K = _stratify(task, series_N, subject_N)
    drawn = {name: int(np.sum(stratum_P == k)) for k, name in enumerate(names)}
    asked = {
        name: drawn[name]
        for name, having in zip(names, having_K, strict=True)
        if (name or len(names) == 1) and (drawn[name] or not having)
    }
    rarest = min(asked, key=asked.get)
    words = NAME[task.kind].format(rarest)
    if asked[rarest] < _needed(task):
        raise UserError(
            f'Column "{task.column}": {asked[rarest]} labelled training patients{words}; '
            f"at least {_needed(task)} must be there."
        )
    return task, words, asked[rarest]


def _needed(task: Task) -> int:
    return 1 if task.classes else 2


def smallest(count_K, needed: int) -> float:
    """The fraction at which rounding gives every class `needed`, rounded up to four decimals."""
    exact = max((needed - 0.5) / max(patients, needed) for patients in count_K)
    return min(1.0, math.ceil(exact * 1e4) / 1e4)
