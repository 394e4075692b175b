"""The share of pairs in the right order, against a loop over all pairs."""

import numpy as np
import pytest

from tvrl_jax.probing import concordance

COUNT = 9 * concordance.FEW  # so that cases are halved several times, and sorted


def _loop(score_N, case_N, meets, gain_N, weight_N):
    right = every = 0.0
    for i in np.flatnonzero(case_N):
        for j in range(len(score_N)):
            if meets(i, j):
                weight = weight_N[i] * gain_N[i] * weight_N[j]
                right += weight * ((score_N[i] > score_N[j]) + (score_N[i] == score_N[j]) / 2)
                every += weight
    return right / every if every else np.nan


@pytest.mark.parametrize("scores", [12, 10**6])  # with many ties, and with hardly any
@pytest.mark.parametrize("times", [1, 5, 300, 10**6])
def test_later_pairs_are_those_of_a_loop(scores, times):
    rng = np.random.default_rng(scores + times)
    score_N = rng.integers(scores, size=COUNT) / 7
    case_N, time_N = rng.random(COUNT) < 0.4, rng.integers(times, size=COUNT)
    gain_N, weight_RN = rng.uniform(1, 9, COUNT), rng.poisson(1, (3, COUNT)).astype(float)
    found_R = concordance.share(score_N, concordance.later_pairs(case_N, time_N), weight_RN, gain_N)
    for found, weight_N in zip(found_R, weight_RN, strict=True):
        naive = _loop(score_N, case_N, lambda i, j: time_N[j] > time_N[i], gain_N, weight_N)
        np.testing.assert_allclose(found, naive, rtol=1e-12)


@pytest.mark.parametrize("cases", [0, 1, 3, concordance.FEW + 1, COUNT - 1, COUNT])
def test_all_pairs_are_those_of_a_loop(cases):
    rng = np.random.default_rng(cases)
    score_N, case_N = rng.integers(40, size=COUNT), np.arange(COUNT) < cases
    weight_RN = rng.poisson(1, (2, COUNT)).astype(float)
    weight_RN[:, 0] = 1
    found_R = concordance.share(score_N, concordance.all_pairs(case_N, ~case_N), weight_RN)
    for found, weight_N in zip(found_R, weight_RN, strict=True):
        naive = _loop(score_N, case_N, lambda i, j: not case_N[j], np.ones(COUNT), weight_N)
        np.testing.assert_allclose(found, naive, rtol=1e-12)


def test_every_pair_is_met_once():
    rng = np.random.default_rng(0)
    case_N, time_N = rng.random(COUNT) < 0.6, rng.integers(80, size=COUNT)
    seen_NN = np.zeros((COUNT, COUNT), int)
    for case_C, start_C, other_O in concordance._split(concordance.later_pairs(case_N, time_N)):
        for case, start in zip(case_C, start_C, strict=True):
            seen_NN[case, other_O[start:]] += 1
    np.testing.assert_array_equal(seen_NN, case_N[:, None] & (time_N > time_N[:, None]))


def test_more_rows_than_a_block_are_each_their_own():
    rng = np.random.default_rng(1)
    score_N, case_N, time_N = rng.random(COUNT), rng.random(COUNT) < 0.5, rng.random(COUNT)
    pairs = concordance.later_pairs(case_N, time_N)
    weight_RN = rng.poisson(1, (2 * concordance.BLOCK + 3, COUNT)).astype(float)
    alone = [concordance.share(score_N, pairs, weight_RN[r : r + 1])[0] for r in (0, 70, 130)]
    found_R = concordance.share(score_N, pairs, weight_RN)
    np.testing.assert_allclose(found_R[[0, 70, 130]], alone, rtol=1e-13)


def test_a_score_that_is_none_is_not_ranked():
    score_N, case_N = np.array([0.1, np.nan, 0.3]), np.array([True, False, False])
    pairs = concordance.all_pairs(case_N, ~case_N)
    assert np.isnan(concordance.share(score_N, pairs, np.ones((2, 3)))).all()
