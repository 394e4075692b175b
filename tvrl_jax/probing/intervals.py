"""Intervals and p of metrics and of their differences: errors of resamples, and Student's t.

Percentiles of resamples are too short where patients are few, and near 1 they lie too high, too:
the resamples of a nearly perfect ranking are nearly perfect. What the resamples do tell is the
standard error, as half the range of their middle 68 %, which a few wild ones do not move (of R2,
those with hardly any spread of the labels). It is known no better than by the patients behind it:
hence Student's t, with one degree of freedom less than there are patients in the smallest group
that the metric needs: than its effective number (`stats.effective`), where some have many series
and others few. The mean over S draws of labels has a second error, since other labels might
have been drawn, with S - 1: then the squares add, with the degrees of freedom of Welch (1947) and
Satterthwaite (1946).

An interval is symmetric on the metric's own scale: the logit of what ranks (Pepe 2003, The
Statistical Evaluation of Medical Tests, section 5.2.5) and of a Brier score, the logarithm of MAE
and of 1 - R2. Differences stay as they are.

`python -m benchmarks.coverage` measures how often an interval holds the truth, and
`python -m benchmarks.level` how often two alike are called different.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95
MIDDLE = (15.865525393145708, 84.13447460685429)  # percentiles: a standard deviation from the mean
NOTHING = 1e-24  # the square of an error, of a number near 1: what rounding leaves of none
RANKING = ("auroc", "average_precision", "c_index", "c_index_ipcw", "top1")


class Interval(NamedTuple):
    value: float
    low: float
    high: float
    degenerate: int  # resamples in which the metric is not defined; they are left out


class Difference(NamedTuple):
    value: float
    low: float
    high: float
    p: float  # two-sided


class Error(NamedTuple):
    """Of a number: the square of its standard error, and the degrees of freedom behind it."""

    square: float
    freedom: float

    @property
    def reach(self) -> float:
        """Half of a 95 % interval."""
        return float(student.ppf((1 + LEVEL) / 2, self.freedom)) * math.sqrt(self.square)

    def p(self, value: float) -> float:
        """Two-sided probability of a number this far from 0."""
        return float(2 * student.sf(abs(value) / math.sqrt(self.square), self.freedom))


class Scale(NamedTuple):
    """On which an interval is symmetric."""

    there: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]  # |derivative of `there`|
    inside: Callable[[float], bool]  # whether a value lies on it


def _power(x: float) -> float:
    return math.exp(min(x, 700.0))


LOGIT = Scale(
    lambda x: math.log(x / (1 - x)),
    lambda y: 1 / (1 + _power(-y)),
    lambda x: 1 / (x * (1 - x)),
    lambda x: 0 < x < 1,
)
LOGARITHM = Scale(math.log, _power, lambda x: 1 / x, lambda x: x > 0)
OF_THE_REST = Scale(
    lambda x: -math.log(1 - x), lambda y: 1 - _power(-y), lambda x: 1 / (1 - x), lambda x: x < 1
)
ITSELF = Scale(lambda x: x, lambda y: y, lambda x: 1.0, math.isfinite)


def scale(metric: str) -> Scale:
    if is_of_a_ranking(metric) or metric == "ibs" or metric.startswith("brier_"):
        return LOGIT
    if metric == "mae":
        return LOGARITHM
    return OF_THE_REST if metric == "r2" else ITSELF


def is_of_a_ranking(metric: str) -> bool:
    """Whether it is between 0 and 1, and 1 where nothing is out of order."""
    return metric in RANKING or metric.startswith("auc_")


def bounds(metric: str) -> tuple[float, float]:
    """What a metric cannot leave."""
    return {"r2": (-math.inf, 1.0), "mae": (0.0, math.inf)}.get(metric, (0.0, 1.0))


def added(errors: Sequence[Error]) -> Error:
    """Of a sum of independent numbers."""
    square = sum(error.square for error in errors)
    spent = sum(error.square**2 / error.freedom for error in errors)
    return Error(square, square**2 / spent if spent else math.inf)


def of_draws(draws: Sequence[np.ndarray]) -> list[Error]:
    """Of means over draws of labels, from the values of the draws [S]; several of independent
    means. None where one draw was made, or all are alike."""
    known = (np.asarray(value_S)[np.isfinite(value_S)] for value_S in draws)
    made = (_of_mean(value_S) for value_S in known if len(value_S) > 1)
    return [error for error in made if error.square]


def _of_mean(value_S: np.ndarray) -> Error:
    apart_S = value_S - value_S[0]  # exactly 0 where the draws leave nothing to chance
    error = float(np.std(apart_S, ddof=1)) / math.sqrt(len(apart_S))
    return Error(error**2, len(apart_S) - 1)


def interval(
    metric: str,
    value: float,
    sample_R: np.ndarray,
    *,
    smallest: float,
    draws: Sequence[np.ndarray] = (),
) -> Interval:
    """The 95 % interval of a metric.

    sample_R: the metric in each resample of the patients; NaN where not defined.
    smallest: patients of the smallest group that the metric needs, their effective number (a real
      one) where some have more series than others; of one nothing is known.
    draws: as of `of_draws`.

    Where all resamples of a ranking are 1, no patient tells how far from 1 the truth is. Then the
    lower end is that of Clopper and Pearson (1934), as if each patient of the smallest group were
    one trial that succeeded; and the same at 0. A ranking with less than one such patient out of
    order tells hardly more: see `_near_perfect`.
    """
    value, on = float(value), scale(metric)
    defined_R = sample_R[np.isfinite(sample_R)]
    lost = len(sample_R) - len(defined_R)
    if len(defined_R) < 2:
        return Interval(value, math.nan, math.nan, lost)
    error = added([_of_patients(defined_R, smallest), *of_draws(draws)])
    if _is_nothing(error.square, value) or not on.inside(value):
        ends = _without_spread(metric, value, smallest)
    else:
        reach = error.reach * on.slope(value)
        ends = (on.back(on.there(value) - reach), on.back(on.there(value) + reach))
        if is_of_a_ranking(metric):
            ends = _near_perfect(metric, value, smallest, ends)
    return Interval(value, *ends, lost)


def _is_nothing(square: float, size: float) -> bool:
    """Whether the square of a number is what rounding leaves of numbers of this size: a metric may
    have a unit, as small as it likes."""
    return square <= NOTHING * size**2


def _of_patients(sample_R: np.ndarray, smallest: float) -> Error:
    low, high = np.percentile(sample_R, MIDDLE)
    apart_R = sample_R - sample_R[0]  # exactly 0 where all are alike
    error = (high - low) / 2 or np.std(apart_R, ddof=1)
    return Error(float(error) ** 2, max(smallest - 1, 1))


def _without_spread(metric: str, value: float, smallest: float) -> tuple[float, float]:
    """Of a number that is the same in every resample, as 1, or as of a score without ranks.

    Of rankings 1, 0 and, without ranks, 0.5 are such numbers: their mean is as far from sure as the
    share of it that is not of the last kind.
    """
    if not is_of_a_ranking(metric):
        return value, value
    reach = _unseen(smallest)
    above = max(2 * value - 1, 0) * reach
    below = max(1 - 2 * value, 0) * reach if _turns_round(metric) else 0.0
    return value - above, value + below


def _near_perfect(metric: str, value: float, smallest: float, ends) -> tuple[float, float]:
    """Ends of a ranking, of which less than one patient of the smallest group may be out of order.

    The spread is then that of this patient alone, and with a wrong pair instead of none the lower
    end would leap from that of Clopper and Pearson nearly to 1. It goes over in proportion.
    """
    low, high = ends
    reach = _unseen(smallest)
    low -= max(1 - (1 - value) * smallest, 0) * max(low - (1 - reach), 0)
    if _turns_round(metric):
        high += max(1 - value * smallest, 0) * max(reach - high, 0)
    return low, high


def _unseen(smallest: float) -> float:
    """The largest share of failures of which as many trials may show none (Clopper and Pearson)."""
    return 1 - ((1 - LEVEL) / 2) ** (1 / max(smallest, 1))


def _turns_round(metric: str) -> bool:
    """Whether 0 is the perfect ranking turned round: an average precision is the share of the class
    at least, which may be near 0."""
    return metric != "average_precision"


def difference(
    value: float,
    a_R: np.ndarray,
    b_R: np.ndarray,
    *,
    smallest: float,
    draws: Sequence[np.ndarray] = (),
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Difference:
    """Paired: a - b, where row r of both was computed on the same drawn patients.

    smallest, draws: as of `interval`, draws of the difference. limits: what it cannot leave.

    Where the difference is the same in every resample, p is that of a sign test in which each
    patient of the smallest group speaks for the same side.
    """
    value, gap_R = float(value), a_R - b_R
    gap_R = gap_R[np.isfinite(gap_R)]
    if len(gap_R) < 2:
        return Difference(value, math.nan, math.nan, math.nan)
    error = added([_of_patients(gap_R, smallest), *of_draws(draws)])
    size = float(max(np.nanmax(abs(a_R)), np.nanmax(abs(b_R))))
    if _is_nothing(error.square, size):
        p = 1.0 if _is_nothing(value**2, size) else min(1.0, 2.0 ** (1 - smallest))
        return Difference(value, value, value, p)
    low, high = np.clip((value - error.reach, value + error.reach), *limits)
    return Difference(value, float(low), float(high), error.p(value))
