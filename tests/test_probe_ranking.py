"""Intervals of a ranking's metrics, on the logit scale."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from tvrl_jax.probing import problem, ranking, rows, sampling, stats, tasks

RUNS, RESAMPLES = 400, 300
FOUR_SIGMA = 4 * math.sqrt(0.95 * 0.05 / RUNS)


def _drawn(rng, area: float, patients: int, positives: int):
    """Labels, outputs: normal scores of equal spread whose AUROC is `area`."""
    label_N = (np.arange(patients) < positives).astype(float)
    score_N = np.sqrt(2) * norm.ppf(area) * label_N + rng.normal(size=patients)
    return label_N, np.stack([-score_N, score_N], 1)


def _held(area: float, patients: int, positives: int) -> tuple[float, float]:
    """How often percentiles, and the interval here, hold the AUROC."""
    rng, found = np.random.default_rng(0), []
    for run in range(RUNS):
        label_N, output_NK = _drawn(rng, area, patients, positives)
        weight_RN = stats.resample(np.arange(patients), samples=RESAMPLES, seed=run)
        sample_R = stats.auroc(label_N, output_NK, weight_RN)
        value = stats.auroc(label_N, output_NK, stats.once(patients))[0]
        made = ranking.interval(value, sample_R, smallest=positives)
        both = stats.interval(value, sample_R), made
        found.append([one.low <= area <= one.high for one in both])
    return tuple(np.mean(found, axis=0))


@pytest.mark.parametrize(("area", "patients", "positives"), [(0.6, 100, 50), (0.97, 135, 14)])
def test_it_holds_the_truth_as_often_as_it_says_and_percentiles_near_1_do_not(
    area, patients, positives
):
    percentiles, here = _held(area, patients, positives)
    assert abs(here - 0.95) < FOUR_SIGMA
    assert (percentiles < 0.95 - 2 * FOUR_SIGMA) == (area > 0.9)


def test_of_a_perfect_ranking_the_lower_end_is_that_of_as_many_successes():
    """Clopper and Pearson 1934, by scipy."""
    for smallest in (1, 10, 50):
        made = ranking.interval(1.0, np.ones(200), smallest=smallest)
        exact = binomtest(smallest, smallest).proportion_ci(0.95, "exact")
        assert (made.low, made.high) == pytest.approx((exact.low, 1.0))
        mirrored = ranking.interval(0.0, np.zeros(200), smallest=smallest)
        assert (mirrored.low, mirrored.high) == pytest.approx((0.0, 1 - exact.low))


def test_a_score_that_is_always_the_same_is_sure_of_it():
    made = ranking.interval(0.5, np.full(200, 0.5), smallest=10)
    assert (made.value, made.low, made.high) == (0.5, 0.5, 0.5)


def test_with_many_patients_in_the_middle_of_the_scale_it_is_that_of_percentiles():
    label_N, output_NK = _drawn(np.random.default_rng(1), 0.7, 4000, 2000)
    weight_RN = stats.resample(np.arange(4000), samples=4000, seed=0)
    sample_R = stats.auroc(label_N, output_NK, weight_RN)
    value = stats.auroc(label_N, output_NK, stats.once(4000))[0]
    made, other = ranking.interval(value, sample_R, smallest=2000), stats.interval(value, sample_R)
    assert (made.low, made.high) == pytest.approx((other.low, other.high), abs=0.002)


def test_the_two_sides_mirror_each_other_and_stay_in_the_scale():
    sample_R = np.random.default_rng(0).normal(0.98, 0.02, size=500)
    made = ranking.interval(0.98, sample_R, smallest=3)
    mirrored = ranking.interval(1 - 0.98, 1 - sample_R, smallest=3)
    assert (made.low, made.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
    assert 0 < made.low < 0.98 < made.high < 1 and made.high - 0.98 < 0.98 - made.low


def test_without_a_spread_of_patients_it_is_that_of_t_over_the_draws():
    drawn_S = np.array([0.62, 0.70, 0.66, 0.71, 0.60])
    value, error = drawn_S.mean(), drawn_S.std(ddof=1) / 5**0.5
    made = ranking.interval(value, np.full(300, value), smallest=20, draws=[drawn_S])
    ends = student.interval(0.95, 4, math.log(value / (1 - value)), error / value / (1 - value))
    assert (made.low, made.high) == pytest.approx([1 / (1 + math.exp(-end)) for end in ends])


def test_resamples_in_which_it_is_not_defined_are_left_out_and_counted():
    sample_R = np.array([0.7, np.nan, 0.8, 0.9, np.nan])
    made = ranking.interval(0.8, sample_R, smallest=5)
    assert made == ranking.interval(0.8, sample_R[[0, 2, 3]], smallest=5)._replace(degenerate=2)
    none = ranking.interval(0.8, np.full(5, np.nan), smallest=5)
    assert math.isnan(none.low) and math.isnan(none.high) and none.degenerate == 5


def _scored(kind: str, value_N, output_NK) -> dict:
    task = tasks.Task("y", kind, ("no", "yes") if kind == "classification" else (), value_N)
    made = [problem.Prediction(sampling.Draw(task, 1.0, 0, np.ones(3, bool), 0), output_NK, {})]
    every_N = np.arange(len(value_N))
    scores = rows.evaluate(made, every_N, every_N, samples=200, seed=0)
    return {score.metric: score for score in scores if score.seed == 0}


def test_a_probe_has_such_intervals_of_its_rankings_and_percentiles_of_its_errors():
    label_N, output_NK = _drawn(np.random.default_rng(0), 0.9, 60, 12)
    for name, score in _scored("classification", label_N, output_NK).items():
        assert name in ("auroc", "average_precision")
        made = ranking.interval(score.interval.value, score.sample_R, smallest=12)
        assert score.interval == made
    for score in _scored("regression", label_N, output_NK[:, 1:]).values():
        assert score.interval == stats.interval(score.interval.value, score.sample_R)
    perfect = _scored("classification", label_N, np.stack([1 - label_N, label_N], 1))
    assert perfect["auroc"].interval[:3] == pytest.approx((1.0, 0.025 ** (1 / 12), 1.0))


def test_metrics_of_a_ranking_are_told_from_errors():
    names = ("auroc", "average_precision", "c_index", "c_index_ipcw", "auc_2", "auc_0.5")
    assert all(map(ranking.is_of_one, names))
    assert not any(map(ranking.is_of_one, ("r2", "mae", "brier_2", "ibs", "auroc_p")))
