"""Metrics of predictions, of the patients as they are and resampled.

A resample is a row of weights: how often each test series was drawn. Every metric takes a whole
matrix of them, so one sort of the scores serves all resamples, and two methods that are given the
same matrix are compared on the same patients.
"""

import numpy as np

from tvrl_jax.probing import ranks, survival_metrics
from tvrl_jax.probing.survival import Clock

BLOCK = 64  # resamples that are sorted out at once: their sums stay in the processor's cache


def resample(subject_N: np.ndarray, *, samples: int, seed: int) -> np.ndarray:
    """weight_RN: how often each series is drawn when whole patients are drawn with replacement."""
    _, patient_N = np.unique(subject_N, return_inverse=True)
    patients = int(patient_N.max()) + 1
    draw = np.random.default_rng(seed).integers(patients, size=(samples, patients))
    cell = draw + patients * np.arange(samples)[:, None]
    count_RP = np.bincount(cell.ravel(), minlength=samples * patients).reshape(samples, patients)
    return count_RP[:, patient_N].astype(np.float64)


def once(count: int) -> np.ndarray:
    """The weights of the test set as it is, [1, N]."""
    return np.ones((1, count))


def metrics(kind: str, clock: Clock | None = None) -> dict:
    """Name -> function(label_N, output_NK, weight_RN) -> value_R, NaN where not defined.

    clock: that of a survival task.
    """
    if kind == "survival":
        return survival_metrics.metrics(clock)
    return {
        "regression": {"mae": mae, "r2": r2},
        "classification": {"auroc": auroc, "average_precision": average_precision},
    }[kind]


def mae(label_N, output_NK, weight_RN):
    """Mean absolute error, in the target's unit."""
    total_R, error_R = _sums(weight_RN, np.abs(output_NK[:, 0] - label_N))
    return error_R / total_R


def r2(label_N, output_NK, weight_RN):
    """Coefficient of determination against the mean of the same (resampled) patients."""
    far_N = label_N - np.mean(label_N, dtype=np.float64)  # so that little cancels in the spread
    error_N = (output_NK[:, 0] - label_N) ** 2
    total_R, far_R, square_R, error_R = _sums(weight_RN, far_N, far_N**2, error_N)
    spread_R = square_R - far_R**2 / total_R
    spread_R[spread_R <= 1e-12 * total_R * max(float(np.var(label_N)), 1e-300)] = np.nan
    return 1 - error_R / spread_R


def _sums(weight_RN, *of_N) -> np.ndarray:
    """Of the weights, and of each of the others by them: one pass over a large matrix."""
    return (weight_RN @ np.stack([np.ones(weight_RN.shape[1]), *of_N], axis=1)).T


def auroc(label_N, output_NK, weight_RN):
    """Area under the ROC curve, ties counted half; more than two classes: one against the rest."""
    return _one_vs_rest(_area_under_roc, label_N, output_NK, weight_RN)


def average_precision(label_N, output_NK, weight_RN):
    """Sum of precision x step in recall over the thresholds, without interpolation."""
    return _one_vs_rest(_area_under_precision, label_N, output_NK, weight_RN)


def _one_vs_rest(area, label_N, output_NK, weight_RN):
    """The second of two classes, or the mean over the classes that the test set contains."""
    classes = output_NK.shape[1]
    picked = [1] if classes == 2 else [k for k in range(classes) if np.any(label_N == k)]
    found = [
        _in_blocks(area, label_N == k, ranks.of_class(output_NK, k), weight_RN) for k in picked
    ]
    return np.mean(found, axis=0)


def _in_blocks(area, positive_N, score_N, weight_RN):
    """`area` of the weight of positives and negatives at each distinct score, ascending [R, S]."""
    order_N = np.argsort(score_N, kind="stable")
    _, start_S = np.unique(score_N[order_N], return_index=True)
    positive_N, found = positive_N[order_N], []
    for first in range(0, len(weight_RN), BLOCK):
        weight_BN = weight_RN[first : first + BLOCK][:, order_N]
        positive_BS = np.add.reduceat(weight_BN * positive_N, start_S, axis=1)
        negative_BS = np.add.reduceat(weight_BN * ~positive_N, start_S, axis=1)
        found.append(area(positive_BS, negative_BS))
    return np.concatenate(found)


def _area_under_roc(positive_RS, negative_RS):
    below_RS = np.cumsum(negative_RS, 1) - negative_RS / 2
    pairs_R = positive_RS.sum(1) * negative_RS.sum(1)
    return _divide((positive_RS * below_RS).sum(1), pairs_R)


def _area_under_precision(positive_RS, negative_RS):
    hits_RS = np.cumsum(positive_RS[:, ::-1], 1)
    called_RS = hits_RS + np.cumsum(negative_RS[:, ::-1], 1)
    precision_RS = hits_RS / np.maximum(called_RS, 1)
    area_R = _divide((precision_RS * positive_RS[:, ::-1]).sum(1), hits_RS[:, -1])
    return np.where(negative_RS.sum(1) > 0, area_R, np.nan)


def _divide(numerator_R, denominator_R):
    return np.where(denominator_R > 0, numerator_R, np.nan) / np.maximum(denominator_R, 1e-300)


def holm(p_N: np.ndarray) -> np.ndarray:
    """Probabilities corrected for their number (Holm 1979); NaN stays NaN and does not count."""
    made_N = np.full(len(p_N), np.nan)
    known = np.flatnonzero(np.isfinite(p_N))
    order = known[np.argsort(p_N[known], kind="stable")]
    scaled = p_N[order] * (len(order) - np.arange(len(order)))
    made_N[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return made_N
