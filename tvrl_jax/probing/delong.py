"""Variance of an AUROC, and of the difference of two on the same cases, without resampling.

DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837-845; by midranks as in Sun and Xu 2014,
IEEE Signal Processing Letters 21, 1389-1393. Every case counts as independent of all others, so a
patient may have one test series only; with several the patient bootstrap is the one to trust.

An AUROC is the mean of the structural components of its P positives and of its Q negatives.
The components of a mean over fits (label draws) on the same cases are the means of theirs, since
every component is linear in the AUROC: so the variance of the mean holds the covariances of the
fits, and the mean over seeds is compared as one. What other draws would have given is not in the
cases: `difference` adds it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from tvrl_jax.probing.intervals import NOTHING, Difference, Error, added, of_draws


class Components(NamedTuple):
    """P positive and Q negative cases, in the order of the test set."""

    positive_P: np.ndarray  # share of the negatives that a positive outscores, ties counted half
    negative_Q: np.ndarray  # share of the positives that outscore a negative


def components(positive_N: np.ndarray, score_N: np.ndarray) -> Components:
    """Of one score; positive_N is bool, and both kinds must be there."""
    joint_N = rankdata(score_N)
    above_P = joint_N[positive_N] - rankdata(score_N[positive_N])
    above_Q = joint_N[~positive_N] - rankdata(score_N[~positive_N])
    return Components(above_P / len(above_Q), 1 - above_Q / len(above_P))


def mean(several: Sequence[Components]) -> Components:
    """The components of the mean of AUROCs of the same cases."""
    return Components(*(np.mean(values, axis=0) for values in zip(*several, strict=True)))


def auroc(of: Components) -> float:
    return float(of.positive_P.mean())


def variance(of: Components) -> float:
    """Of the AUROC; NaN with fewer than two positives or two negatives."""
    if min(map(len, of)) < 2:
        return math.nan
    return float(sum(np.var(values, ddof=1) / len(values) for values in of))


def difference(a: Components, b: Components, draws: Sequence[np.ndarray] = ()) -> Difference:
    """AUROC of a minus that of b on the same cases, its 95 % interval, and two-sided p.

    draws: as of `intervals.of_draws`, whose error is added to that of the cases. Normal without it;
    with it Student's t, with the degrees of freedom of Welch (1947) and Satterthwaite (1946).

    p is 1 where the two are alike case by case, and NaN where the variance is not defined or is
    zero although the AUROCs differ (a perfect score against a constant one).
    """
    apart = Components(*(x - y for x, y in zip(a, b, strict=True)))
    value = auroc(a) - auroc(b)
    of_cases = variance(apart)
    if math.isnan(of_cases) or (of_cases < NOTHING and abs(value) > 1e-12):
        return Difference(value, math.nan, math.nan, math.nan)
    error = added([Error(of_cases, math.inf), *of_draws(draws)])
    p = error.p(value) if error.square > NOTHING else 1.0
    return Difference(value, value - error.reach, value + error.reach, p)
