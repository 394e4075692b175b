"""Metrics of a time to event: ranks, ranks at a horizon, and the error of survival curves.

Each is a function (label_N2, output_NK, weight_RN) -> value_R like those of `stats`: label is
(event, duration), output is the risk, then survival at the times of the clock, and a row of weights
says how often each series was drawn. Series that were censored too early to count are made up for
by inverse probability of censoring weights (IPCW): who was observed stands for those who would have
been, 1 / P(under observation). That probability is Kaplan-Meier's estimate on the TEST split: that
of another cohort may be followed longer, or not as long. It is the same for all methods, fractions
and resamples. At an event it is the probability of being observed up to that time, P(C >= T).
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from tvrl_jax.probing import ranks, survival
from tvrl_jax.probing.survival import Clock

BLOCK = 256  # events whose pairs are held at once


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
    return _ordered(output_NK[:, 0], event_N, np.ones(len(event_N)), _later(label_N2), weight_RN)


def c_index_ipcw(label_N2, output_NK, weight_RN, *, clock: Clock):
    """Concordance of pairs whose earlier event comes before tau, each weighted 1 / P(C >= T)^2, so
    that it does not depend on the censoring (Uno et al. 2011, equation 5)."""
    case_N = (label_N2[:, 0] == 1) & (label_N2[:, 1] < clock.tau)
    gain_N = _inverse(label_N2[:, 1], case_N, clock) ** 2
    return _ordered(output_NK[:, 0], case_N, gain_N, _later(label_N2), weight_RN)


def auc(label_N2, output_NK, weight_RN, *, clock: Clock, horizon: float, column: int):
    """Cumulative / dynamic AUROC: events up to the horizon against series seen without one for
    longer, events weighted 1 / P(C >= T) (Uno et al. 2007). The lower S(horizon), the higher the
    rank. Where a model is sure, S is exactly 0 or 1: equal S(horizon) are ranked by the risk, of
    which that of a Cox model is a function."""
    event_N, time_N = label_N2[:, 0] == 1, label_N2[:, 1]
    case_N = event_N & (time_N <= horizon)
    gain_N = _inverse(time_N, case_N, clock)
    free_N = time_N > horizon

    def others(rows):
        return np.broadcast_to(free_N, (len(rows), len(free_N)))

    rank_N = ranks.by(-output_NK[:, column], output_NK[:, 0])
    return _ordered(rank_N, case_N, gain_N, others, weight_RN)


def brier(label_N2, output_NK, weight_RN, *, clock: Clock, time: float, column: int):
    """Squared error of S(time) against being free of the event then, by IPCW (Graf et al. 1999).

    Who had the event up to then counts 1 / P(C >= T), who is free of it 1 / P(C > time), who was
    censored before 0.
    """
    event_N, time_N = label_N2[:, 0] == 1, label_N2[:, 1]
    case_N, free_N = event_N & (time_N <= time), time_N > time
    survival_N = output_NK[:, column].astype(np.float64)
    of_free = 1 / survival.at(survival.observed(clock), time)
    error_N = _inverse(time_N, case_N, clock) * survival_N**2
    error_N += of_free * free_N * (1 - survival_N) ** 2
    return weight_RN @ error_N / weight_RN.sum(1)


def integrated_brier(label_N2, output_NK, weight_RN, *, clock: Clock, first: int):
    """Mean of the Brier score from 0, where it is 0, to the last horizon, by trapezoids."""
    value_GR = np.stack(
        [
            brier(label_N2, output_NK, weight_RN, clock=clock, time=time, column=first + k)
            for k, time in enumerate(clock.grid_G)
        ]
    )
    return (value_GR.sum(0) - value_GR[-1] / 2) / len(value_GR)


def _inverse(time_N, case_N, clock: Clock) -> np.ndarray:
    """1 / P(C >= T) of the cases, 0 of the others."""
    observed_N = survival.at(survival.observed(clock), time_N, before=True)
    return np.where(case_N, 1 / np.where(case_N, observed_N, 1), 0)


def _later(label_N2) -> Callable:
    """rows -> [E, N]: which series were free of the event longer than those of the rows."""
    event_N, time_N = label_N2[:, 0] == 1, label_N2[:, 1]

    def later(rows):
        time_E1 = time_N[rows, None]
        return (time_N > time_E1) | ((time_N == time_E1) & ~event_N)

    return later


def _ordered(score_N, case_N, gain_N, others: Callable, weight_RN):
    """Weighted share of the pairs (case, other) in which the case scores higher; ties half."""
    right_R, pairs_R = np.zeros(len(weight_RN)), np.zeros(len(weight_RN))
    rows_E = np.flatnonzero(case_N)
    for rows in np.array_split(rows_E, -(-len(rows_E) // BLOCK)) if len(rows_E) else ():
        pair_EN = others(rows).astype(np.float64)
        half_EN = (1 + np.sign(score_N[rows, None] - score_N)) / 2
        weight_RE = weight_RN[:, rows] * gain_N[rows]
        right_R += ((weight_RE @ (pair_EN * half_EN)) * weight_RN).sum(1)
        pairs_R += ((weight_RE @ pair_EN) * weight_RN).sum(1)
    return np.where(pairs_R > 0, right_R, np.nan) / np.maximum(pairs_R, 1e-300)
