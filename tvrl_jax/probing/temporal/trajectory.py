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
    """The `drawn` groups on the two principal axes of the moments of all groups, standardised.

    own_mean: each group without its mean, so that change remains and what tells subjects apart
    does not.
    """
    feature = [g.feature_nD.astype(np.float64) for g in groups]
    if own_mean:
        feature = [f - f.mean(0) for f in feature]
    every = np.concatenate(feature)
    mean, std = every.mean(0), every.std(0)
    std = np.where(std > 1e-6 * std.max(initial=1e-300), std, np.inf)
    scaled = (every - mean) / std
    value, axis = np.linalg.eigh(scaled.T @ scaled)
    two = axis[:, ::-1][:, :2]
    share = value[::-1][:2] / max(value.sum(), 1e-300)
    order = [np.argsort(groups[k].time_n, kind="stable") for k in drawn]
    return Trajectories(
        np.concatenate(
            [((feature[k] - mean) / std @ two)[o] for k, o in zip(drawn, order, strict=True)]
        ),
        np.concatenate([groups[k].time_n[o] for k, o in zip(drawn, order, strict=True)]),
        np.concatenate([np.full(len(o), k) for k, o in zip(drawn, order, strict=True)]),
        np.maximum(share, 0),
    )


def choose(groups: Sequence[Moments], subject_N: np.ndarray, count: int) -> np.ndarray:
    """The longest series of `count` patients, evenly spread over those with most moments."""
    length_N = np.array([len(group.time_n) for group in groups])
    order_N = np.lexsort((np.arange(len(groups)), -length_N))
    _, first = np.unique(subject_N[order_N], return_index=True)
    best = order_N[np.sort(first)]  # of every patient, most moments first
    return best[:count]
