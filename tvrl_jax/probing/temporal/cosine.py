"""True cosines: within a series, within a patient, between patients."""

from typing import NamedTuple

import numpy as np

from tvrl_jax.probing.temporal import measured
from tvrl_jax.probing.temporal.measured import Measured


class Cosines(NamedTuple):
    """For each of N series the mean over pairs with one of its windows; NaN where there is none."""

    same_series: np.ndarray  # two windows of it
    same_patient: np.ndarray  # the other one is of another series of the patient
    other_patients: np.ndarray


def cosines(cls_WD: np.ndarray, series_W: np.ndarray, subject_N: np.ndarray) -> Cosines:
    """Means over all pairs of windows, from sums: no pair is left out and none is stored.

    series_W: position among the N series of each window; subject_N: the patient of each series.
    """
    unit_WD = unit(cls_WD)
    sum_ND, count_N = _sums(unit_WD, series_W, len(subject_N))
    patients, patient_N = np.unique(subject_N, return_inverse=True)
    sum_PD, count_P = _sums(sum_ND, patient_N, len(patients), count_N)
    of_patient_ND, of_patient_N = sum_PD[patient_N], count_P[patient_N]
    own_N = np.bincount(series_W, (unit_WD**2).sum(1), len(subject_N))
    return Cosines(
        _mean((sum_ND**2).sum(1) - own_N, count_N * (count_N - 1)),
        _mean((sum_ND * (of_patient_ND - sum_ND)).sum(1), count_N * (of_patient_N - count_N)),
        _mean(
            (sum_ND * (sum_ND.sum(0) - of_patient_ND)).sum(1),
            count_N * (count_N.sum() - of_patient_N),
        ),
    )


def unit(feature_WD: np.ndarray) -> np.ndarray:
    """Rows of length 1, in float64; a row of zeros stays."""
    feature_WD = np.asarray(feature_WD, np.float64)
    length_W1 = np.linalg.norm(feature_WD, axis=-1, keepdims=True)
    return feature_WD / np.where(length_W1 > 0, length_W1, 1)


def _sums(value_WD, group_W, groups: int, count_W=None):
    total_GD = np.zeros((groups, value_WD.shape[1]))
    np.add.at(total_GD, group_W, value_WD)
    return total_GD, np.bincount(group_W, count_W, groups)


def _mean(total_N, pairs_N):
    return np.where(pairs_N > 0, total_N, np.nan) / np.maximum(pairs_N, 1)


def measure(found: Cosines, subject_N, **bootstrap) -> list[Measured]:
    """Means over the test series. The partners of a series are not resampled with it."""
    return [
        measured.mean("cosine", name, value_N, subject_N, **bootstrap)
        for name, value_N in found._asdict().items()
    ]
