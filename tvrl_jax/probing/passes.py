"""The order in which training rows are visited by the probes that learn in steps."""

import math

import numpy as np


def steps(rows: int, *, batch_size: int, epochs: int, min_steps: int, evaluations: int) -> int:
    """Enough for `epochs` passes over the rows, at least min_steps; divisible by evaluations."""
    wanted = max(min_steps, epochs * math.ceil(rows / batch_size))
    return math.ceil(wanted / evaluations) * evaluations


def order(used_N: np.ndarray, *, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Rows of each step [steps, batch_size]: shuffled passes over the rows in use, joined."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(used_N)
    passes = math.ceil(steps * batch_size / len(rows))
    joined = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return joined[: steps * batch_size].reshape(steps, batch_size)
