"""Cosine of what was seen at one time with what was seen at another: heat maps over time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing.temporal.cosine import unit
from tvrl_jax.probing.windows import Windows


class Moments(NamedTuple):
    """What belongs together: a series, or a window; n moments."""

    feature_nD: np.ndarray
    time_n: np.ndarray


def of_series(store, series: Sequence[int], frame_FD: np.ndarray) -> list[Moments]:
    """Every series with its frames, times since its first one."""
    infos = [store.series[i] for i in series]
    starts = np.cumsum([0, *(info.frames for info in infos)])
    return [
        Moments(frame_FD[start : start + info.frames], np.asarray(info.time_T) - info.time_T[0])
        for info, start in zip(infos, starts[:-1], strict=True)
    ]


def of_windows(table: Windows, token_WTD: np.ndarray) -> list[Moments]:
    """Every window with its valid tokens, times as in the table."""
    return [
        Moments(token_TD[valid_T], time_T[valid_T])
        for token_TD, time_T, valid_T in zip(token_WTD, table.time_WT, table.valid_WT, strict=True)
    ]


def bins(groups: Sequence[Moments], most: int) -> np.ndarray:
    """Edges of even bins from 0, or the earliest time of 19 groups in 20 where times count down to
    a newest frame, to the latest time of as many; not more bins than moments."""
    first = min(0.0, np.percentile([group.time_n.min() for group in groups], 5))
    last = np.percentile([group.time_n.max() for group in groups], 95)
    count = min(most, max(len(group.time_n) for group in groups))
    return np.linspace(first, last if last > first else first + 1.0, count + 1)


def centre(groups: Sequence[Moments]) -> list[Moments]:
    """Without the mean over all moments: raw cosines are all near 1."""
    mean_D = np.concatenate([group.feature_nD for group in groups]).mean(0, dtype=np.float64)
    return [group._replace(feature_nD=group.feature_nD - mean_D) for group in groups]


def heat_map(groups: Iterable[Moments], edge_E: np.ndarray) -> np.ndarray:
    """Mean cosine of two different moments by the bins of their times, [bins, bins].

    The mean over the groups of each group's mean, so that a long series has no larger say. NaN
    where no group has two moments. Times outside the edges take no part.
    """
    count = len(edge_E) - 1
    total, groups_with = np.zeros((count, count)), np.zeros((count, count))
    for feature_nD, time_n in groups:
        bin_n = np.searchsorted(edge_E, time_n, side="right") - 1
        bin_n = np.where(time_n == edge_E[-1], count - 1, bin_n)
        kept_n = (bin_n >= 0) & (bin_n < count)
        unit_nD, in_nE = unit(feature_nD[kept_n]), np.eye(count)[bin_n[kept_n]]
        other_nn = 1 - np.eye(len(unit_nD))
        pairs = in_nE.T @ other_nn @ in_nE
        sums = in_nE.T @ (unit_nD @ unit_nD.T * other_nn) @ in_nE
        total += np.where(pairs > 0, sums, 0) / np.maximum(pairs, 1)
        groups_with += pairs > 0
    return np.where(groups_with > 0, total, np.nan) / np.maximum(groups_with, 1)
