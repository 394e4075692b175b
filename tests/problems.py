"""What a probe is fitted to: the draws of one task, and series in three splits."""

import jax
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


def assert_each_is_fitted_once(module, monkeypatch, feature, task, series, **settings) -> None:
    """What all labels teach every seed is learned once, and is the same to the last bit."""

    def fitted(part, once):
        counts = []

        def counted(fit, part, draws):
            def spy(draws):
                counts.append(len(jax.tree.leaves(draws)[0]))
                return fit(draws)

            return once(spy, part, draws)

        monkeypatch.setattr(module, "once", counted)
        return counts, module.fit(feature, part, **settings)

    for fractions, kept in (((0.4, 1.0), 4), ((1.0,), 2)):
        part = problem_of(task, series, fractions, 3)
        once, made = fitted(part, problem.once)
        every, expected = fitted(part, lambda fit, part, draws: fit(draws))
        assert (once, every) == ([kept], [len(part.draws)])
        for ours, theirs in zip(made, expected, strict=True):
            assert ours.draw is theirs.draw and ours.choice == theirs.choice
            np.testing.assert_array_equal(ours.test_NK, theirs.test_NK)
