"""How much of the weight of all pairs a score puts in the right order, for many rows of weights.

A pair is a case and another; it counts the product of their weights, and is right where the case
scores higher, half right where both score the same. AUROC and the C-index are such shares: they
differ in which pairs there are. Of N series there are N^2 pairs; none is formed. Where every one of
some cases meets every one of some others, sorting the others tells each case how much weight lies
below it, and of cases that meet the later ones only, halves are taken until that is so: it costs
O(N log N) a row, where forming the pairs costs O(N^2).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 64  # rows at once: their sums stay in the processor's cache
FEW = 64  # of cases, or others, whose pairs are formed after all: cheaper than sorting them


class Pairs(NamedTuple):
    """Case c and other_O[start_C[c]:] make pairs. Indices of series; `start_C` ascends."""

    case_C: np.ndarray
    start_C: np.ndarray
    other_O: np.ndarray


def all_pairs(case_N: np.ndarray, other_N: np.ndarray) -> Pairs:
    """Of every case and every other; bool [N] each."""
    case_C = np.flatnonzero(case_N)
    return Pairs(case_C, np.zeros(len(case_C), int), np.flatnonzero(other_N))


def later_pairs(case_N: np.ndarray, time_N: np.ndarray) -> Pairs:
    """Of every case and all whose time is greater."""
    order_N = np.argsort(time_N, kind="stable")
    case_C = order_N[case_N[order_N]]
    return Pairs(case_C, np.searchsorted(time_N[order_N], time_N[case_C], side="right"), order_N)


def share(score_N, pairs: Pairs, weight_RN, gain_N=None) -> np.ndarray:
    """Right share of the weight of all pairs [R]; NaN without a pair, or with a score that is NaN.

    gain_N: by how much a pair counts more, for its case; None = not at all.
    """
    if np.isnan(score_N).any():
        return np.full(len(weight_RN), np.nan)
    meetings = [_meet(score_N, *meeting) for meeting in _split(pairs)]
    right_R, all_R = np.zeros(len(weight_RN)), np.zeros(len(weight_RN))
    for first in range(0, len(weight_RN), BLOCK):
        block = slice(first, first + BLOCK)
        weight_BN = np.ascontiguousarray(weight_RN[block])
        for meeting in meetings:
            case_BC = np.take(weight_BN, meeting.case_C, axis=1)
            if gain_N is not None:
                case_BC *= gain_N[meeting.case_C]
            for sum_R, met_BC in zip((right_R, all_R), meeting.met(weight_BN), strict=True):
                sum_R[block] += np.einsum("bc,bc->b", case_BC, met_BC)
    return np.where(all_R > 0, right_R, np.nan) / np.maximum(all_R, 1e-300)


def sums(weight_BN: np.ndarray, index_K: np.ndarray) -> np.ndarray:
    """[B, 1 + K]: the weight of the first 0 to K of these series."""
    sum_BK = np.zeros((len(weight_BN), 1 + len(index_K)))
    np.cumsum(np.take(weight_BN, index_K, axis=1), axis=1, out=sum_BK[:, 1:])
    return sum_BK


def _split(pairs: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The same pairs, each once, as (cases, their starts, others): few of one of the two, or every
    case with every other."""
    left = [pairs]
    while left:
        case_C, start_C, other_O = left.pop()
        if min(len(case_C), len(other_O)) == 0:
            continue
        if min(len(case_C), len(other_O)) <= FEW or start_C[-1] == 0:
            yield case_C, start_C, other_O
            continue
        cut = start_C[len(start_C) // 2]
        early, late = np.searchsorted(start_C, cut), np.searchsorted(start_C, cut, side="right")
        left.append(Pairs(case_C[:late], np.zeros(late, int), other_O[cut:]))
        left.append(Pairs(case_C[:early], start_C[:early], other_O[:cut]))
        left.append(Pairs(case_C[late:], start_C[late:] - cut, other_O[cut:]))


class Sorted(NamedTuple):
    """Every case meets every other."""

    case_C: np.ndarray
    other_O: np.ndarray  # by score, ascending
    below_C: np.ndarray  # others that score lower than the case
    upto_C: np.ndarray  # or the same

    def met(self, weight_BN):
        """For each case the weight of the others that it is right of, and of all that it meets."""
        sum_BO = sums(weight_BN, self.other_O)
        right_BC = np.take(sum_BO, self.below_C, axis=1)
        right_BC += np.take(sum_BO, self.upto_C, axis=1)
        right_BC /= 2
        return right_BC, np.broadcast_to(sum_BO[:, -1:], right_BC.shape)


class Formed(NamedTuple):
    """Few cases, or few others: which of them make pairs, and which of these are right."""

    case_C: np.ndarray
    other_O: np.ndarray
    right_OC: np.ndarray
    pair_OC: np.ndarray

    def met(self, weight_BN):
        other_BO = np.take(weight_BN, self.other_O, axis=1)
        return other_BO @ self.right_OC, other_BO @ self.pair_OC


def _meet(score_N, case_C, start_C, other_O) -> Sorted | Formed:
    if min(len(case_C), len(other_O)) <= FEW:
        pair_OC = (np.arange(len(other_O))[:, None] >= start_C).astype(np.float64)
        higher_OC = np.sign(score_N[case_C] - score_N[other_O][:, None])
        return Formed(case_C, other_O, pair_OC * (1 + higher_OC) / 2, pair_OC)
    other_O = other_O[np.argsort(score_N[other_O], kind="stable")]
    sides = [np.searchsorted(score_N[other_O], score_N[case_C], side=s) for s in ("left", "right")]
    return Sorted(case_C, other_O, *sides)
