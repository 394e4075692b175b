"""The predictor that never looks: the training mean, or the training prevalence."""

import numpy as np

from tvrl_jax.probing.problem import Prediction, Problem


def fit(problem: Problem, test_series: int) -> list[Prediction]:
    """One prediction per draw, the same for each of the test series."""
    return [
        Prediction(draw, np.tile(_answer(problem, m), (test_series, 1)), {})
        for m, draw in enumerate(problem.draws)
    ]


def _answer(problem: Problem, m: int) -> np.ndarray:
    if problem.kind == "regression":
        return problem.centre_M[m : m + 1]
    code_N = problem.target_MN[m][problem.weight_MN[m] > 0].astype(int)
    return np.bincount(code_N, minlength=problem.outputs) / len(code_N)
