"""Which patients train, validate and test."""

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np

from tvrl_jax.errors import UserError

SPLITS = ("train", "val", "test")


def check_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    fractions = tuple(float(f) for f in fractions)
    proper = len(fractions) == 3 and all(math.isfinite(f) and f >= 0 for f in fractions)
    if not proper or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"data.split_fractions is {fractions}: it takes three numbers >= 0 that add up to 1 "
            "(train, val, test)."
        )
    return fractions


def split_counts(total: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers that add up to `total`, by largest remainder; a tie goes to the earlier."""
    quota = [total * f for f in fractions]
    count = [math.floor(q + 1e-9) for q in quota]
    order = sorted(range(len(quota)), key=lambda k: (-round(quota[k] - count[k], 9), k))
    for k in order[: total - sum(count)]:
        count[k] += 1
    return tuple(count)


def seeded_split(subjects: Iterable[str], fractions: Sequence[float], seed: int) -> dict[str, str]:
    """Each subject's split. Depends on the names and the seed only: subjects are ranked by a hash
    of both, so that the order of the table, the machine and the library versions do not matter."""

    def rank(subject: str) -> tuple[str, str]:
        return hashlib.sha256(f"{seed}:{subject}".encode()).hexdigest(), subject

    ranked = sorted(set(subjects), key=rank)
    names = np.repeat(SPLITS, split_counts(len(ranked), check_fractions(fractions)))
    return dict(zip(ranked, names.tolist(), strict=True))
