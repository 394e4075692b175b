"""Intervals of the metrics of a ranking (AUROC, average precision, C-index), on the logit scale.

Percentiles of resamples are too short near 1 and lie too high: the resamples of a nearly perfect
ranking are nearly perfect, too. What they do tell is the standard error. On the logit scale an
interval of a symmetric width stays within 0 and 1 and is long on the side of the middle (Pepe 2003,
The Statistical Evaluation of Medical Tests, section 5.2.5). The error is that of the smaller class
before all, and known no better than by its patients: hence Student's t with one less than they are.
`python -m benchmarks.coverage` measures how often such an interval holds the truth.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from tvrl_jax.probing import stats

LEVEL = 0.95
NAMES = ("auroc", "average_precision", "c_index", "c_index_ipcw")
AT_A_HORIZON = "auc_"


def is_of_one(metric: str) -> bool:
    """Whether the metric is of a ranking: between 0 and 1, and 1 where nothing is out of order."""
    return metric in NAMES or metric.startswith(AT_A_HORIZON)


def interval(
    value: float, sample_R: np.ndarray, *, smallest: float, draws: Sequence[np.ndarray] = ()
) -> stats.Interval:
    """The 95 % interval of a metric of a ranking.

    sample_R: the metric in each resample of the patients; NaN where not defined.
    smallest: patients of the smallest group that the metric needs.
    draws: the values of the draws of labels, as in `stats.over_draws`, whose spread adds to that of
      the patients; the degrees of freedom are those of Welch (1947) and Satterthwaite (1946).

    Where all resamples are 1, no patient tells how far from 1 the truth is. Then the lower end is
    that of Clopper and Pearson (1934), as if each patient of the smallest group were one trial that
    succeeded; and the same at 0.
    """
    defined_R = sample_R[np.isfinite(sample_R)]
    lost = len(sample_R) - len(defined_R)
    if len(defined_R) < 2:
        return stats.Interval(float(value), math.nan, math.nan, lost)
    lucks = [found for found in map(stats.luck, draws) if found]
    errors = [float(np.std(defined_R - defined_R[0], ddof=1)), *(found.error for found in lucks)]
    square = sum(error**2 for error in errors)
    if square < 1e-24 or not 0 < value < 1:
        return stats.Interval(float(value), *_of_no_spread(float(value), smallest), lost)
    freedoms = [max(smallest - 1, 1), *(found.freedom for found in lucks)]
    freedom = square**2 / sum(e**4 / f for e, f in zip(errors, freedoms, strict=True))
    half = student.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(square) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return stats.Interval(float(value), _expit(middle - half), _expit(middle + half), lost)


def _of_no_spread(value: float, smallest: float) -> tuple[float, float]:
    """The same number in every resample: 0, 1, or that of a score which is always the same."""
    reach = ((1 - LEVEL) / 2) ** (1 / max(smallest, 1))
    return {0.0: (0.0, 1 - reach), 1.0: (reach, 1.0)}.get(value, (value, value))


def _expit(x: float) -> float:
    return float(1 / (1 + math.exp(-x))) if x >= 0 else float(math.exp(x) / (1 + math.exp(x)))
