"""The way that subjects take through a plane of their features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing.temporal.similarity import Moments


class Trajectories(NamedTuple):
    """P points, those of one series one after another in the order of time."""

    position_P2: np.ndarray
    time_P: np.ndarray
    series_P: np.ndarray  # position in the list of groups
    share_2: np.ndarray  # of the variance that each axis holds


def trace(groups: Sequence[Moments], drawn: Sequence[int], *, own_mean: bool) -> Trajectories:
    """The `drawn` groups on the two principal axes of the moments of all groups.

    own_mean: each group without its mean, so that change remains and what tells subjects apart
    does not.
    """
    feature = [group.feature_nD.astype(np.float64) for group in groups]
    if own_mean:
        feature = [feature_nD - feature_nD.mean(0) for feature_nD in feature]
    every_PD = np.concatenate(feature)
    centred_PD = every_PD - every_PD.mean(0)
    value_D, axis_DD = np.linalg.eigh(centred_PD.T @ centred_PD)
    points, times, names = [], [], []
    for k in drawn:
        order_n = np.argsort(groups[k].time_n, kind="stable")
        points.append(((feature[k] - every_PD.mean(0)) @ axis_DD[:, :-3:-1])[order_n])
        times.append(groups[k].time_n[order_n])
        names.append(np.full(len(order_n), k))
    share_2 = np.maximum(value_D[:-3:-1], 0) / max(value_D.sum(), 1e-300)
    return Trajectories(*map(np.concatenate, (points, times, names)), share_2)


def choose(groups: Sequence[Moments], subject_N: np.ndarray, count: int) -> np.ndarray:
    """The longest series of `count` patients, evenly spread over those with most moments."""
    length_N = np.array([len(group.time_n) for group in groups])
    order_N = np.lexsort((np.arange(len(groups)), -length_N))
    _, first = np.unique(subject_N[order_N], return_index=True)
    best = order_N[np.sort(first)]  # of every patient, most moments first
    shortest = length_N[best[:count]].min()
    most = best[length_N[best] >= shortest]  # and not the first ones of those that are equally long
    place = np.linspace(0, len(most) - 1, min(count, len(most)))
    return most[place.round().astype(int)]
