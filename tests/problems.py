"""What a probe is fitted to: the draws of one task, and series in three splits."""

import numpy as np

from tvrl_jax.probing import problem, sampling, tasks
from tvrl_jax.probing.problem import Problem


def thirds(count: int) -> dict[str, np.ndarray]:
    """Train, val and test are consecutive thirds of the series."""
    third = count // 3
    return {s: np.arange(i * third, (i + 1) * third) for i, s in enumerate(tasks.SPLITS)}


def problem_of(task: tasks.Task, series, fractions=(0.4, 1.0), seeds: int = 2) -> Problem:
    """Of a task whose every series is a patient."""
    train = series["train"]
    draws = sampling.draws((task,), train, train, fractions=fractions, seeds=seeds)
    return problem.group(draws, series)[0]
