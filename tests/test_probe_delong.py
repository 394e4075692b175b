"""DeLong's test against its definition, the patient bootstrap and known probabilities."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import t as student
from sklearn import metrics as sk

from tvrl_jax.probing import delong, intervals, rows, stats
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.tasks import Task


def _cases(count=60, seed=0, levels=0, methods=3):
    """Correlated scores of the same cases; with `levels` many are tied."""
    rng = np.random.default_rng(seed)
    positive_N = np.arange(count) % 3 == 0
    shared_N = rng.normal(size=count)
    score_MN = positive_N + shared_N + rng.normal(size=(methods, count))
    return positive_N, np.round(score_MN * levels) / levels if levels else score_MN


def _naive(positive_N, score_MN):
    """AUROCs and their covariance: every pair in a loop, the sums of equations 4 to 6."""
    own_M = [(score_N[positive_N], score_N[~positive_N]) for score_N in score_MN]
    positives, negatives = len(own_M[0][0]), len(own_M[0][1])
    auroc_M, first_MP, second_MQ = [], [], []
    for high_P, low_Q in own_M:
        kernel = [[float(x > y) + 0.5 * float(x == y) for y in low_Q] for x in high_P]
        auroc_M.append(sum(map(sum, kernel)) / (positives * negatives))
        first_MP.append([sum(row) / negatives for row in kernel])
        second_MQ.append([sum(column) / positives for column in zip(*kernel, strict=True)])
    covariance = np.zeros((len(own_M), len(own_M)))
    for r, s in np.ndindex(covariance.shape):
        for parts, count in ((first_MP, positives), (second_MQ, negatives)):
            products = [
                (a - auroc_M[r]) * (b - auroc_M[s]) for a, b in zip(parts[r], parts[s], strict=True)
            ]
            covariance[r, s] += sum(products) / (count - 1) / count
    return np.array(auroc_M), covariance


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_midranks_give_what_the_definition_gives(levels):
    positive_N, score_MN = _cases(levels=levels)
    auroc_M, covariance_MM = _naive(positive_N, score_MN)
    parts = [delong.components(positive_N, score_N) for score_N in score_MN]
    for m, part in enumerate(parts):
        assert delong.auroc(part) == pytest.approx(sk.roc_auc_score(positive_N, score_MN[m]))
        assert part.negative_Q.mean() == pytest.approx(auroc_M[m])
        assert delong.variance(part) == pytest.approx(covariance_MM[m, m])
    for a, b in ((0, 1), (1, 2)):
        made = delong.difference(parts[a], parts[b])
        spread = covariance_MM[a, a] + covariance_MM[b, b] - 2 * covariance_MM[a, b]
        z = (auroc_M[a] - auroc_M[b]) / math.sqrt(spread)
        assert made.value == pytest.approx(auroc_M[a] - auroc_M[b])
        assert made.p == pytest.approx(2 * scipy_stats.norm.sf(abs(z)))
        assert made.high - made.value == pytest.approx(scipy_stats.norm.ppf(0.975) * spread**0.5)


def test_the_mean_over_seeds_is_a_contrast_of_all_fits():
    """Two seeds of A minus three of B: the variance of the contrast with the whole covariance."""
    positive_N, score_MN = _cases(methods=5)
    auroc_M, covariance_MM = _naive(positive_N, score_MN)
    parts = [delong.components(positive_N, score_N) for score_N in score_MN]
    made = delong.difference(delong.mean(parts[:2]), delong.mean(parts[2:]))
    contrast_M = np.array([1 / 2, 1 / 2, -1 / 3, -1 / 3, -1 / 3])
    z = contrast_M @ auroc_M / math.sqrt(contrast_M @ covariance_MM @ contrast_M)
    assert made.value == pytest.approx(contrast_M @ auroc_M)
    assert made.p == pytest.approx(2 * scipy_stats.norm.sf(abs(z)))


def test_the_variance_is_that_of_the_patient_bootstrap():
    positive_N, score_MN = _cases(count=600, methods=2)
    weight_RN = stats.resample(np.arange(600), samples=4000, seed=0)
    parts, sample_MR = [], []
    for score_N in score_MN:
        parts.append(delong.components(positive_N, score_N))
        output_NK = np.stack([-score_N, score_N], 1)
        sample_MR.append(stats.auroc(positive_N.astype(float), output_NK, weight_RN))
        assert math.sqrt(delong.variance(parts[-1])) == pytest.approx(sample_MR[-1].std(), rel=0.05)
    apart = delong.difference(*parts)
    resampled = intervals.difference(apart.value, *sample_MR, smallest=math.inf)
    assert (apart.low, apart.high) == pytest.approx(resampled[1:3], abs=0.005)
    assert apart.p == pytest.approx(resampled.p, abs=0.05) and 0.01 < apart.p < 0.99


def test_without_a_difference_p_is_uniform():
    """1,000 pairs of equally good scores: as many below each level as it says, +-4 sigma."""
    p_S = []
    for seed in range(1000):
        positive_N, score_MN = _cases(count=120, seed=seed, methods=2)
        p_S.append(delong.difference(*(delong.components(positive_N, s) for s in score_MN)).p)
    for level in (0.05, 0.2, 0.5):
        sigma = math.sqrt(level * (1 - level) / len(p_S))
        assert abs(np.mean(np.array(p_S) < level) - level) < 4 * sigma


def test_where_nothing_varies_nothing_is_claimed():
    positive_N = np.arange(12) < 4
    perfect, constant = (
        delong.components(positive_N, score_N) for score_N in (positive_N * 1.0, np.zeros(12))
    )
    assert delong.auroc(perfect) == 1 and delong.auroc(constant) == 0.5
    assert delong.difference(perfect, perfect)[::3] == (0, 1)
    assert math.isnan(delong.difference(perfect, constant).p)
    lone = delong.components(np.arange(12) < 1, np.arange(12.0))
    assert math.isnan(delong.variance(lone)) and math.isnan(delong.difference(lone, lone).p)


def test_the_spread_over_draws_is_that_of_welch():
    rng, positive_N = np.random.default_rng(4), np.arange(80) < 30
    a, b = (delong.components(positive_N, rng.normal(size=80) + positive_N) for _ in range(2))
    drawn_S = np.array([0.05, -0.02, 0.07, 0.01])
    alone, made = delong.difference(a, b), delong.difference(a, b, [drawn_S])
    patients = ((alone.high - alone.value) / scipy_stats.norm.ppf(0.975)) ** 2
    draws = np.var(drawn_S, ddof=1) / 4
    freedom = (patients + draws) ** 2 / (draws**2 / 3)
    t = alone.value / (patients + draws) ** 0.5
    assert made.p == pytest.approx(2 * student.sf(abs(t), freedom))
    half = student.ppf(0.975, freedom) * (patients + draws) ** 0.5
    assert (made.low, made.high) == pytest.approx((alone.value - half, alone.value + half))
    perfect, blind = (delong.components(positive_N, by * positive_N) for by in (1.0, 0.0))
    assert math.isnan(delong.difference(perfect, blind, [drawn_S]).p)  # as without draws
    for alike in ([], [np.full(5, 0.1)], [np.array([0.1])]):
        assert delong.difference(a, b, alike) == alone


def _rows(subject_N, classes=("no", "yes")):
    positive_N, score_MN = _cases(count=len(subject_N), methods=4)
    code_N = positive_N.astype(np.float32) + (np.arange(len(subject_N)) == 0) * (len(classes) - 2)
    task = Task("AF", "classification", classes, code_N)
    sides = []
    for seeds in (score_MN[:2], score_MN[2:]):
        made = []
        for seed, score_N in enumerate(seeds):
            output_NK = np.stack([-score_N, score_N, 0 * score_N][: len(classes)], 1)
            made.append(Prediction(Draw(task, 1.0, seed, positive_N), output_NK, {}))
        every_N = np.arange(len(subject_N))
        sides.append(rows.evaluate(made, every_N, subject_N, samples=20, seed=0))
    made = rows.differences(*sides, method="a - b", cohort="c", probe="linear")
    return {row["metric"]: row["value"] for row in made}, positive_N, score_MN


def test_the_test_is_reported_where_each_patient_has_one_series():
    found, positive_N, score_MN = _rows(np.arange(60))
    parts = [delong.components(positive_N, score_N) for score_N in score_MN]
    drawn_S = np.array([delong.auroc(parts[s]) - delong.auroc(parts[2 + s]) for s in range(2)])
    means = delong.mean(parts[:2]), delong.mean(parts[2:])
    assert found["auroc_p_delong"] == pytest.approx(delong.difference(*means, [drawn_S]).p)
    assert found["auroc_p_delong"] > delong.difference(*means).p
    assert {"auroc", "auroc_p", "average_precision_p"} < set(found)
    assert "average_precision_p_delong" not in found
    assert "auroc_p_delong" not in _rows(np.arange(60) // 2)[0]
    assert "auroc_p_delong" not in _rows(np.arange(60), ("no", "yes", "maybe"))[0]
