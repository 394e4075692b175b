"""Metrics of predictions, of the patients as they are and resampled.

A resample is a row of weights: how often each test series was drawn. Every metric takes a whole
matrix of them, so one sort of the scores serves all resamples, and two methods that are given the
same matrix are compared on the same patients.
"""

import numpy as np

from tvrl_jax.probing import concordance, ranks, survival_metrics
from tvrl_jax.probing.survival import Clock


def resample(subject_N: np.ndarray, *, samples: int, seed: int) -> np.ndarray:
    """weight_RN: how often each series is drawn when whole patients are drawn with replacement."""
    _, patient_N = np.unique(subject_N, return_inverse=True)
    patients, rng = int(patient_N.max()) + 1, np.random.default_rng(seed)
    weight_RN = np.empty((samples, len(patient_N)))
    for first in range(0, samples, concordance.BLOCK):  # this matrix alone is large
        rows = weight_RN[first : first + concordance.BLOCK]
        draw = rng.integers(patients, size=(len(rows), patients))
        cell = draw + patients * np.arange(len(rows))[:, None]
        count = np.bincount(cell.ravel(), minlength=cell.size).reshape(cell.shape)
        rows[:] = np.take(count, patient_N, axis=1)
    return weight_RN


def effective(subject_N: np.ndarray) -> float:
    """How many patients with equal numbers of series these series are worth: (sum n)^2 / sum n^2 of
    n series each (Kish 1965, Survey Sampling). Their number where n is the same for all."""
    _, count_P = np.unique(subject_N, return_counts=True)
    return float(count_P.sum() ** 2 / max(np.sum(count_P**2), 1))


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
    error_N = (output_NK[:, 0].astype(np.float64) - label_N) ** 2  # of float32: up to 1e38 alone
    total_R, far_R, square_R, error_R = _sums(weight_RN, far_N, far_N**2, error_N)
    spread_R = square_R - far_R**2 / total_R
    spread_R[spread_R <= 1e-12 * total_R * max(float(np.var(far_N)), 1e-300)] = np.nan
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
    """The second of two classes, or the mean over the classes that the test set contains. NaN where
    a prediction is none."""
    if np.isnan(output_NK).any():  # which sorts as the highest
        return np.full(len(weight_RN), np.nan)
    classes = output_NK.shape[1]
    picked = [1] if classes == 2 else [k for k in range(classes) if np.any(label_N == k)]
    found = [area(label_N == k, ranks.of_class(output_NK, k), weight_RN) for k in picked]
    return np.mean(found, axis=0)


def _area_under_roc(positive_N, score_N, weight_RN):
    pairs = concordance.all_pairs(positive_N, ~positive_N)
    return concordance.share(score_N, pairs, weight_RN)


def _area_under_precision(positive_N, score_N, weight_RN):
    """The mean over the positives of the precision at the threshold that just calls them."""
    order_N = np.argsort(score_N, kind="stable")
    order_P = order_N[positive_N[order_N]]
    called_P = np.searchsorted(score_N[order_N], score_N[order_P])  # called are those from here on
    hits_P = np.searchsorted(score_N[order_P], score_N[order_P])
    area_R = np.empty(len(weight_RN))
    for first in range(0, len(weight_RN), concordance.BLOCK):
        weight_BN = np.ascontiguousarray(weight_RN[first : first + concordance.BLOCK])
        all_BN, hits_BP = (concordance.sums(weight_BN, index) for index in (order_N, order_P))
        called_BP = all_BN[:, -1:] - np.take(all_BN, called_P, axis=1)
        found_BP = hits_BP[:, -1:] - np.take(hits_BP, hits_P, axis=1)
        precision_BP = found_BP / np.maximum(called_BP, 1)
        total_B = np.einsum("bp,bp->b", np.take(weight_BN, order_P, axis=1), precision_BP)
        hits_B, negative_B = hits_BP[:, -1], all_BN[:, -1] - hits_BP[:, -1]
        total_B = np.where((hits_B > 0) & (negative_B > 0), total_B, np.nan)
        area_R[first : first + len(total_B)] = total_B / np.maximum(hits_B, 1e-300)
    return area_R


def holm(p_N: np.ndarray) -> np.ndarray:
    """Probabilities corrected for their number (Holm 1979); NaN stays NaN and does not count."""
    made_N = np.full(len(p_N), np.nan)
    known = np.flatnonzero(np.isfinite(p_N))
    order = known[np.argsort(p_N[known], kind="stable")]
    scaled = p_N[order] * (len(order) - np.arange(len(order)))
    made_N[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return made_N
