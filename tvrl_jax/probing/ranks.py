"""In which order a model puts the series, without ties where it is sure of them.

A probability is exactly 1 in float64 from 1 - 1e-16 on, which a softmax reaches at a difference of
37 between the logits: of a cohort from another scanner a whole test set may lie beyond it. What is
left to the other classes is then still told apart, down to 1e-308.
"""

import numpy as np

SURE = 0.99  # from here on what is left to the others has more digits than the probability


def of_class(output_NK: np.ndarray, k: int) -> np.ndarray:
    """Rank [N] by the probability of class k; where it is near 1 and equal, by those of the others.

    Below `SURE` equal probabilities tie: the sum of the others differs in its last digit only, by
    how it is split among them.
    """
    own_N, rest_N = output_NK[:, k], np.delete(output_NK, k, axis=1).sum(1)
    return by(own_N, np.where(own_N < SURE, 0, -rest_N))


def by(first_N: np.ndarray, then_N: np.ndarray) -> np.ndarray:
    """Rank [N] from 0 by `first_N`, where that is equal by `then_N`; equal in both is equal.

    Neither may hold NaN, which would rank highest, each by itself.
    """
    order_N = np.lexsort((then_N, first_N))
    new_N = np.zeros(len(order_N), int)
    for value_N in (first_N[order_N], then_N[order_N]):
        new_N[1:] |= value_N[1:] != value_N[:-1]
    rank_N = np.empty_like(new_N)
    rank_N[order_N] = np.cumsum(new_N)
    return rank_N
