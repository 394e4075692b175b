"""The split of a score's spread into label draw and optimisation, against simulated truth."""

import numpy as np
import pytest
from scipy.stats import chi2

from tvrl_jax.probing import variance


def _scores(rng, draws, restarts, draw, optimisation):
    effect_S1 = draw * rng.normal(size=(draws, 1))
    return 0.7 + effect_S1 + optimisation * rng.normal(size=(draws, restarts))


@pytest.mark.parametrize(("draw", "optimisation"), [(0.05, 0.02), (0.02, 0.05), (0.0, 0.03)])
def test_known_components_are_found_from_many_fits(draw, optimisation):
    made = variance.split(_scores(np.random.default_rng(0), 4000, 4, draw, optimisation))
    assert made.optimisation.value == pytest.approx(optimisation, rel=0.03)
    assert made.draw.value == pytest.approx(draw, rel=0.06, abs=0.004)
    for found, truth in zip(made, (draw, optimisation), strict=True):
        assert found.low <= truth <= found.high


def test_the_mean_squares_are_those_of_a_slow_loop():
    value_SR = _scores(np.random.default_rng(1), 6, 3, 0.1, 0.03)
    grand = sum(map(sum, value_SR)) / 18
    own = [sum(row) / 3 for row in value_SR]
    within = sum((y - m) ** 2 for row, m in zip(value_SR, own, strict=True) for y in row) / 12
    between = sum(3 * (m - grand) ** 2 for m in own) / 5
    made = variance.split(value_SR)
    assert made.optimisation.value == pytest.approx(within**0.5)
    assert made.draw.value == pytest.approx(((between - within) / 3) ** 0.5)


@pytest.mark.parametrize(("draw", "optimisation"), [(1.0, 0.3), (0.5, 1.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(draw, optimisation):
    """5 draws x 3 restarts, 1,000 times: within 4 sigma of 95 % (Williams's is a little wider)."""
    rng, covered = np.random.default_rng(2), np.zeros(2)
    for _ in range(1000):
        made = variance.split(_scores(rng, 5, 3, draw, optimisation))
        for i, (found, truth) in enumerate(zip(made, (draw, optimisation), strict=True)):
            covered[i] += found.low <= truth <= found.high
    sigma = (0.95 * 0.05 / 1000) ** 0.5
    assert 0.95 - 4 * sigma < covered[0] / 1000 < 0.985
    assert abs(covered[1] / 1000 - 0.95) < 4 * sigma


def test_a_fit_without_chance_leaves_the_draw_alone():
    own_S = np.random.default_rng(3).normal(size=7)
    made = variance.split(np.repeat(own_S[:, None], 3, 1))
    assert made.optimisation[:3] == (0, 0, 0)
    assert made.draw.value == pytest.approx(own_S.std(ddof=1))
    exact = own_S.std(ddof=1) * np.sqrt(6 / chi2.ppf((0.975, 0.025), 6))
    assert (made.draw.low, made.draw.high) == pytest.approx(tuple(exact))


def test_what_cannot_be_known_is_not_a_number():
    made = variance.split(np.array([[0.5, 0.6, 0.7]]))
    assert np.isnan(made.draw.value) and made.optimisation.value == pytest.approx(0.1)
    alike = variance.split(np.tile([0.5, 0.6, 0.7], (4, 1)))  # draws closer than chance: 0, not NaN
    assert alike.draw[:2] == (0, 0) and alike.optimisation.value == pytest.approx(0.1)
