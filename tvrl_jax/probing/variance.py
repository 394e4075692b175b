"""Where the spread of a probe's score comes from: the patients drawn, or the start of the fit.

A one-way nested random-effects model of the metric y of restart r in draw s,

  y_sr = mean + draw_s + optimisation_sr,

estimated from mean squares (Searle, Casella and McCulloch 1992, Variance Components, chapter 3).
Both are standard deviations, in the unit of the metric, of the score of one fit. They say nothing
about the test patients; the interval of the score does.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, f

from tvrl_jax.probing.intervals import Interval

TAIL = 0.025  # on either side of a 95 % interval


class Split(NamedTuple):
    draw: Interval  # NaN with one draw
    optimisation: Interval


def split(value_SR: np.ndarray) -> Split:
    """Standard deviations with 95 % intervals over fits: S draws x R >= 2 restarts of each.

    Normal effects are assumed: the interval of the optimisation is exact then, that of the draw
    Tukey and Williams's (Williams 1962, Biometrika 49, 278-281). A negative estimate of a variance
    becomes 0, so with few draws a draw that does not matter is 0 about half of the time.
    """
    draws, restarts = value_SR.shape
    apart_SR = value_SR - value_SR[:, :1]  # exactly 0 where a fit leaves nothing to chance
    own_S = value_SR[:, 0] + apart_SR.mean(1)
    within, between = draws * (restarts - 1), draws - 1
    square_within = float(np.sum((apart_SR - apart_SR.mean(1, keepdims=True)) ** 2))
    square_between = float(restarts * np.sum((own_S - own_S.mean()) ** 2))
    low, high = square_within / chi2.ppf((1 - TAIL, TAIL), within)
    optimisation = _root(square_within / within, low, high)
    if not between:
        return Split(_root(np.nan, np.nan, np.nan), optimisation)
    noise = square_within / within
    value = (square_between / between - noise) / restarts
    ends = [
        (square_between - between * noise * f.ppf(tail, between, within))
        / (restarts * chi2.ppf(tail, between))
        for tail in (1 - TAIL, TAIL)
    ]
    return Split(_root(value, *ends), optimisation)


def _root(*variances: float) -> Interval:
    return Interval(*(float(np.sqrt(np.maximum(v, 0))) for v in variances), 0)
