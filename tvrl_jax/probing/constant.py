"""The predictor that never looks: the mean, the prevalence or the survival curve of training."""

import numpy as np

from tvrl_jax.probing import survival
from tvrl_jax.probing.problem import Prediction, Problem


def fit(problem: Problem, test_series: int) -> list[Prediction]:
    """One prediction per draw, the same for each of the test series."""
    return [
        Prediction(draw, np.tile(_answer(problem, m), (test_series, 1)), {})
        for m, draw in enumerate(problem.draws)
    ]


def _answer(problem: Problem, m: int) -> np.ndarray:
    return ANSWER[problem.kind](problem, m, problem.target_MN[m][problem.weight_MN[m] > 0])


def _mean(problem: Problem, m: int, target_N) -> np.ndarray:
    return problem.centre_M[m : m + 1]


def _prevalence(problem: Problem, m: int, target_N) -> np.ndarray:
    return np.bincount(target_N.astype(int), minlength=problem.outputs) / len(target_N)


def _survival(problem: Problem, m: int, target_N2) -> np.ndarray:
    """Equal risks and the Kaplan-Meier curve."""
    time_K = survival.times(problem.draws[m].task.clock)
    return np.append(0.0, survival.at(survival.kaplan_meier(target_N2), time_K))


ANSWER = {"regression": _mean, "classification": _prevalence, "survival": _survival}
