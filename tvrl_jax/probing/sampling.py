"""Which patients a probe may learn from."""

import math
from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError
from tvrl_jax.probing.tasks import Task, labelled

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

    Classes are drawn one by one (stratified); a patient with series of several (two eyes) counts
    for the rarest. A smaller fraction of one seed is contained in a larger one, because both are
    the beginning of one shuffled list. UserError, with the smallest usable fraction, when a class
    has no patient left or a regression fewer than two.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"fractions holds {fraction:g}; a label fraction lies in (0, 1].")
    value_N = task.value_N[series_N]
    labelled_N = labelled(value_N)
    patient_P = np.unique(subject_N[labelled_N])
    codes = range(len(task.classes) or 1)
    has_KP = np.stack(
        [np.isin(patient_P, _patients(task, code, value_N, subject_N)) for code in codes]
    )
    stratum_P = _strata(has_KP)
    count_K = [int(np.sum(stratum_P == code)) for code in codes]
    _check(task, count_K, has_KP.sum(1), fraction)
    rng = np.random.default_rng(seed)
    kept = [
        rng.permutation(patient_P[stratum_P == code])[: _share(fraction, count_K[code])]
        for code in codes
    ]
    return labelled_N & np.isin(subject_N, np.concatenate(kept))


def _patients(task: Task, code: int, value_N, subject_N) -> np.ndarray:
    return subject_N[value_N == code if task.classes else labelled(value_N)]


def _strata(has_KP: np.ndarray) -> np.ndarray:
    """The rarest class among those that each patient has; of two alike the one that comes last."""
    stratum_P = np.zeros(has_KP.shape[1], int)
    for code in np.argsort(-has_KP.sum(1), kind="stable"):
        stratum_P[has_KP[code]] = code
    return stratum_P


def _share(fraction: float, patients: int) -> int:
    return math.floor(fraction * patients + 0.5)


def _check(task: Task, count_K, having_K, fraction: float) -> None:
    """Each class must keep a patient, a regression two.

    A class that only patients of rarer ones have is drawn with them.
    """
    needed = 1 if task.classes else 2
    drawn = {code: n for code, n in enumerate(count_K) if n or not having_K[code]}
    for code, patients in drawn.items():
        name = f' of class "{task.classes[code]}"' if task.classes else ""
        if patients < needed:
            raise UserError(
                f'Column "{task.column}": {patients} labelled training patients{name}; '
                f"at least {needed} must be there."
            )
        if _share(fraction, patients) < needed:
            raise UserError(
                f'Column "{task.column}": fraction {fraction:g} leaves '
                f"{_share(fraction, patients)} of {patients} training patients{name}, "
                f"{needed} must be left; "
                f"the smallest usable fraction is {smallest(drawn.values(), needed):g}."
            )


def smallest(count_K, needed: int) -> float:
    """The fraction at which rounding gives every class `needed`, rounded up to four decimals."""
    exact = max((needed - 0.5) / max(patients, needed) for patients in count_K)
    return min(1.0, math.ceil(exact * 1e4) / 1e4)
