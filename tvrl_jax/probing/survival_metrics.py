"""Metrics of a time to event: ranks, ranks at a horizon, and the error of survival curves.

Each is a function (label_N2, output_NK, weight_RN) -> value_R like those of `stats`: label is
(event, duration), output is the risk, then survival at the times of the clock, and a row of weights
says how often each series was drawn. Series that were censored too early to count are made up for
by inverse probability of censoring weights (IPCW): who was observed stands for those who would have
been, 1 / P(under observation). That probability is Kaplan-Meier's estimate on the TEST split: that
of another cohort may be followed longer, or not as long. It is the same for all methods, fractions
and resamples. At an event it is the probability of being observed up to that time, P(C >= T).
"""

from functools import partial

import numpy as np

from tvrl_jax.probing import concordance, ranks, survival
from tvrl_jax.probing.survival import Clock


def metrics(clock: Clock) -> dict:
    """Name -> function; auc_H and brier_H for each horizon H."""
    count = len(clock.horizon_H)
    named = {"c_index": c_index, "c_index_ipcw": partial(c_index_ipcw, clock=clock)}
    for k, horizon in enumerate(clock.horizon_H):
        named[f"auc_{horizon:g}"] = partial(auc, clock=clock, horizon=horizon, column=1 + k)
    for k, horizon in enumerate(clock.horizon_H):
        named[f"brier_{horizon:g}"] = partial(brier, clock=clock, time=horizon, column=1 + k)
    return named | {"ibs": partial(integrated_brier, clock=clock, first=1 + count)}


def needs(label_N2, clock: Clock) -> dict[str, dict[str, np.ndarray]]:
    """Metric -> each group of series without enough of which it says little -> bool [N].

    In words that follow "patients". c_index needs events alone, whenever they come.
    """
    event_N, time_N = label_N2[:, 0] == 1, label_N2[:, 1]
    found = {
        "c_index_ipcw": {f"with the event before {clock.tau:g}": event_N & (time_N < clock.tau)}
    }
    for horizon in clock.horizon_H:
        by_N = {f"with the event by {horizon:g}": event_N & (time_N <= horizon)}
        both = by_N | {f"seen free of the event after {horizon:g}": time_N > horizon}
        found |= {f"auc_{horizon:g}": both, f"brier_{horizon:g}": both}
    return found | {"ibs": by_N}


def c_index(label_N2, output_NK, weight_RN):
    """Share of comparable pairs in which the earlier event has the higher risk (Harrell 1982).

    A pair is comparable when one had an event and the other was seen without one for longer, or up
    to the same time. Equal risks count half.
    """
    event_N = label_N2[:, 0] == 1
    return concordance.share(output_NK[:, 0], _later(label_N2, event_N), weight_RN)


def c_index_ipcw(label_N2, output_NK, weight_RN, *, clock: Clock):
    """Concordance of pairs whose earlier event comes before tau, each weighted 1 / P(C >= T)^2, so
    that it does not depend on the censoring (Uno et al. 2011, equation 5)."""
    case_N = (label_N2[:, 0] == 1) & (label_N2[:, 1] < clock.tau)
    gain_N = _inverse(label_N2[:, 1], case_N, survival.observed(clock)) ** 2
    return concordance.share(output_NK[:, 0], _later(label_N2, case_N), weight_RN, gain_N)


def auc(label_N2, output_NK, weight_RN, *, clock: Clock, horizon: float, column: int):
    """Cumulative / dynamic AUROC: events up to the horizon against series seen without one for
    longer, events weighted 1 / P(C >= T) (Uno et al. 2007). The lower S(horizon), the higher the
    rank. Where a model is sure, S is exactly 0 or 1: equal S(horizon) are ranked by the risk, of
    which that of a Cox model is a function. NaN where one of the two is."""
    if np.isnan(output_NK[:, [0, column]]).any():  # which sorts as the highest
        return np.full(len(weight_RN), np.nan)
    event_N, time_N = label_N2[:, 0] == 1, label_N2[:, 1]
    case_N = event_N & (time_N <= horizon)
    pairs = concordance.all_pairs(case_N, time_N > horizon)
    rank_N = ranks.by(-output_NK[:, column], output_NK[:, 0])
    gain_N = _inverse(time_N, case_N, survival.observed(clock))
    return concordance.share(rank_N, pairs, weight_RN, gain_N)


def brier(label_N2, output_NK, weight_RN, *, clock: Clock, time: float, column: int):
    """Squared error of S(time) against being free of the event then, by IPCW (Graf et al. 1999).

    Who had the event up to then counts 1 / P(C >= T), who is free of it 1 / P(C > time), who was
    censored before 0; the mean is by these weights. Graf et al. divide by the number of series,
    which is the same with the censoring of the very series.
    """
    return _brier(label_N2, output_NK, weight_RN, clock, [time], column)[:, 0]


def integrated_brier(label_N2, output_NK, weight_RN, *, clock: Clock, first: int):
    """Mean of the Brier score from 0, where it is 0, to the last horizon, by trapezoids."""
    value_RG = _brier(label_N2, output_NK, weight_RN, clock, clock.grid_G, first)
    return (value_RG.sum(1) - value_RG[:, -1] / 2) / value_RG.shape[1]


def _brier(label_N2, output_NK, weight_RN, clock: Clock, time_G, first: int) -> np.ndarray:
    """[R, G] of these times, whose survival is in the columns from `first` on: all times in one
    pass over the weights. NaN where all were censored before.

    The weights of the split as it is add up to its series. Those of a resample do not: divided by
    the number of series its scores would differ by that, too, which those of two test sets do not.
    """
    event_N, moment_N = label_N2[:, 0] == 1, label_N2[:, 1]
    observed, error_GN, counted_GN = survival.observed(clock), [], []
    for k, time in enumerate(time_G):
        case_N, free_N = event_N & (moment_N <= time), moment_N > time
        survival_N = output_NK[:, first + k].astype(np.float64)
        case_N = _inverse(moment_N, case_N, observed)
        free_N = free_N / survival.at(observed, time)
        error_GN.append(case_N * survival_N**2 + free_N * (1 - survival_N) ** 2)
        counted_GN.append(case_N + free_N)
    sum_RG = weight_RN @ np.stack(error_GN + counted_GN, axis=1)
    error_RG, counted_RG = np.split(sum_RG, 2, axis=1)
    return np.where(counted_RG > 0, error_RG, np.nan) / np.maximum(counted_RG, 1e-300)


def _inverse(time_N, case_N, observed: survival.Curve) -> np.ndarray:
    """1 / P(C >= T) of the cases, 0 of the others."""
    there_N = survival.at(observed, time_N, before=True)
    return np.where(case_N, 1 / np.where(case_N, there_N, 1), 0)


def _later(label_N2, case_N) -> concordance.Pairs:
    """Of the cases and the series that were free of the event for longer, or censored just then."""
    event_N, time_N = label_N2[:, 0] == 1, label_N2[:, 1]
    return concordance.later_pairs(case_N, ranks.by(time_N, ~event_N))
