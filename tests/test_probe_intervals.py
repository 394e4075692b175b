"""Intervals and p by Student's t with the error of resamples, on the scale of the metric."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from benchmarks import coverage, level, pretrainings
from tvrl_jax.probing import intervals, problem, rows, sampling, stats, tasks
from tvrl_jax.results import ALL

RUNS, RESAMPLES = 400, 300
FOUR_SIGMA = 4 * math.sqrt(0.95 * 0.05 / RUNS)
DRAWN = np.array([0.62, 0.70, 0.66, 0.71, 0.60])  # the score of five draws of labels


def _drawn(rng, area: float, patients: int, positives: int):
    """Labels, outputs: normal scores of equal spread whose AUROC is `area`."""
    label_N = (np.arange(patients) < positives).astype(float)
    score_N = np.sqrt(2) * norm.ppf(area) * label_N + rng.normal(size=patients)
    return label_N, np.stack([-score_N, score_N], 1)


def _ranked(rng, area: float, patients: int, positives: int, seed: int = 0):
    """An AUROC, and its resamples."""
    label_N, output_NK = _drawn(rng, area, patients, positives)
    weight_RN = stats.resample(np.arange(patients), samples=RESAMPLES, seed=seed)
    once = stats.auroc(label_N, output_NK, stats.once(patients))
    return once[0], stats.auroc(label_N, output_NK, weight_RN)


@pytest.mark.parametrize(("area", "patients", "positives"), [(0.6, 100, 50), (0.97, 135, 14)])
def test_it_holds_the_truth_as_often_as_it_says_and_percentiles_near_1_do_not(
    area, patients, positives
):
    rng, held = np.random.default_rng(0), []
    for run in range(RUNS):
        value, sample_R = _ranked(rng, area, patients, positives, run)
        made = intervals.interval("auroc", value, sample_R, smallest=positives)
        low, high = np.percentile(sample_R[np.isfinite(sample_R)], (2.5, 97.5))
        held.append((made.low <= area <= made.high, low <= area <= high))
    here, percentiles = np.mean(held, axis=0)
    assert abs(here - 0.95) < FOUR_SIGMA
    assert (percentiles < 0.95 - 2 * FOUR_SIGMA) == (area > 0.9)


@pytest.mark.parametrize("patients", [3, 10, 40])
def test_few_patients_are_called_different_no_more_often_than_it_says(patients):
    """Two outputs that know nothing; percentiles called a quarter of those of 3 patients so."""
    called = level.called(stats.mae, level.values(patients), patients, patients, runs=RUNS)
    assert called / 100 < 0.05 + FOUR_SIGMA


def test_patients_with_equal_numbers_of_series_are_worth_their_number():
    assert [stats.effective(np.repeat(np.arange(37), n)) for n in (1, 2, 7)] == [37, 37, 37]
    subject_N = np.repeat(np.arange(40), [30] * 3 + [1] * 37)
    assert stats.effective(subject_N) == pytest.approx(127**2 / (3 * 900 + 37))
    assert stats.effective(subject_N[:0]) == 0 and stats.effective(subject_N[:5]) == 1


def test_patients_with_most_of_the_series_are_called_different_less_often_than_by_their_count():
    """3 of 40 have 30 series each; docs/statistics.md has all numbers, and what is left."""
    sizes = ((3, 30), (37, 1))
    _, effective = level.unequal(sizes, alike=False, runs=RUNS)
    assert effective < 100 * (0.05 + FOUR_SIGMA)
    by_count, effective = level.unequal(sizes, alike=True, runs=RUNS)
    assert effective < 12 < by_count


def _scores_of_unequal(kind: str, of_each):
    """Scores of patients with so many series each, of whom a third is positive, and the notes."""
    subject_N = np.repeat(np.arange(len(of_each)), of_each)
    rng, every_N = np.random.default_rng(0), np.arange(len(subject_N))
    label_N, classes = rng.normal(size=len(subject_N)), ()
    if kind == "classification":
        label_N, classes = (subject_N % 3 == 0).astype(float), ("no", "yes")
    task = tasks.Task("y", kind, classes, label_N)
    output_NK = rng.random((len(subject_N), 2 if classes else 1))
    made = [problem.Prediction(sampling.Draw(task, 1.0, 0, np.ones(3, bool), 0), output_NK, {})]
    scores = rows.evaluate(made, every_N, subject_N, samples=200, seed=0)
    return scores, rows.warnings(scores, every_N, subject_N)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_probe_counts_patients_by_their_effective_number(kind):
    of_each = [30, *[1] * 59]  # the first is positive, as 19 others are
    scores, notes = _scores_of_unequal(kind, of_each)
    worth = {"regression": 89**2 / 959, "classification": 49**2 / 919}[kind]
    for score in scores:
        known = score.metric, score.interval.value, score.sample_R
        assert score.interval == intervals.interval(*known, smallest=score.effective)
        assert score.effective == rows.smallest(score) == pytest.approx(worth)
        assert not rows.few(score)  # which is said of patients, and not of what they are worth
    assert "60 test patients have such unequal numbers of series" in notes[0]
    assert "they are worth 8.3 with as many each" in notes[0]
    assert ('20 test patients of class "yes" have' in "".join(notes)) == (kind != "regression")
    scores, notes = _scores_of_unequal(kind, [1] * 60)
    assert not notes and {s.effective for s in scores} == {60 if kind == "regression" else 20}


def test_methods_that_are_alike_differ_no_more_often_than_p_of_the_methods_says():
    """R2 that moves by 0.05 from pretraining to pretraining, three seeds of each."""
    differs, alike, over = pretrainings.called(300, 3, runs=RUNS // 2)
    assert over < 0.05 + 4 * math.sqrt(0.95 * 0.05 / (RUNS // 2))
    assert over < alike < differs and differs > 0.2  # p of two encoders is no p of the methods


def test_of_a_perfect_ranking_the_lower_end_is_that_of_as_many_successes():
    """Clopper and Pearson 1934, by scipy."""
    for smallest in (1, 10, 50):
        made = intervals.interval("c_index", 1.0, np.ones(200), smallest=smallest)
        exact = binomtest(smallest, smallest).proportion_ci(0.95, "exact")
        assert (made.low, made.high) == pytest.approx((exact.low, 1.0))
        mirrored = intervals.interval("auc_2", 0.0, np.zeros(200), smallest=smallest)
        assert (mirrored.low, mirrored.high) == pytest.approx((0.0, 1 - exact.low))


def _over_all(outputs, label_N):
    """AUROC of several fits, with all labels, over all seeds."""
    task = tasks.Task("y", "classification", ("no", "yes"), label_N)
    made = [
        problem.Prediction(sampling.Draw(task, 1.0, seed, np.ones(3, bool), 0), output_NK, {})
        for seed, output_NK in enumerate(outputs)
    ]
    every_N = np.arange(len(label_N))
    scores = rows.evaluate(made, every_N, every_N, samples=300, seed=0)
    return next(s for s in scores if (s.seed, s.metric) == (ALL, "auroc"))


def test_a_wrong_pair_does_not_make_a_ranking_surer_than_a_perfect_one_is():
    """Of four perfect fits, and of one with one wrong pair of 576, it was [0.992, 1]."""
    label_N = (np.arange(60) < 12).astype(float)
    perfect_NK = np.stack([1 - label_N, label_N], 1)
    near_NK = perfect_NK.copy()
    near_NK[11:13] = [[0.6, 0.4], [0.55, 0.45]]
    sure = _over_all([perfect_NK] * 5, label_N).interval
    for fits in ([perfect_NK] * 4 + [near_NK], [near_NK]):
        made = _over_all(fits, label_N).interval
        assert sure.low <= made.low < sure.low + 0.01 and made.value < 1


@pytest.mark.parametrize("metric", ["auroc", "average_precision", "c_index"])
def test_near_1_the_lower_end_goes_over_into_that_of_a_perfect_ranking(metric):
    """In proportion, where less than one patient of the smallest group is out of order."""
    floor, ends, by_t = 0.025 ** (1 / 20), [], []
    for wrong in (1e-9, 0.25, 0.5, 0.75, 1.0, 2.0):
        value = 1 - wrong / 20
        sample_R = value + 0.02 * (1 - value) * np.random.default_rng(0).normal(size=500)
        made = intervals.interval(metric, value, sample_R, smallest=20)
        reach = student.ppf(0.975, 19) * np.diff(np.percentile(sample_R, intervals.MIDDLE))[0] / 2
        alone = 1 / (1 + math.exp(reach / value / (1 - value)) * (1 - value) / value)
        ends.append(made.low)
        by_t.append(alone)
        share = max(1 - wrong, 0)
        assert made.low == pytest.approx(alone - share * (alone - floor), abs=1e-6)
        assert made.high > value
    assert ends[0] == pytest.approx(floor, abs=1e-6) and ends[-2:] == pytest.approx(by_t[-2:])


def test_a_mean_of_perfect_and_of_blind_fits_is_as_far_from_sure_as_its_perfect_part():
    label_N = (np.arange(60) < 12).astype(float)
    fits = np.stack([1 - label_N, label_N], 1), np.full((60, 2), 0.5)
    perfect, blind = (_over_all([output_NK], label_N) for output_NK in fits)
    made = rows.mean([perfect, blind]).interval
    low = 0.75 - (1 - 0.025 ** (1 / 12)) / 2
    assert made[:3] == pytest.approx((0.75, low, 0.75))
    assert made.low == pytest.approx((perfect.interval.low + blind.interval.low) / 2)
    reversed_ = _over_all([fits[0][:, ::-1]], label_N)
    assert rows.mean([reversed_, blind]).interval[:3] == pytest.approx((0.25, 0.25, 1 - low))


def test_of_a_rare_class_an_average_precision_near_0_is_not_a_ranking_turned_round():
    """It is the share of the class, of which the resamples tell all."""
    sample_R = np.random.default_rng(0).normal(0.02, 0.004, size=500)
    precision = intervals.interval("average_precision", 0.02, sample_R, smallest=12)
    area = intervals.interval("auroc", 0.02, sample_R, smallest=12)
    assert precision.high < 0.04 < area.high < 1 - 0.025 ** (1 / 12)


def test_what_is_always_the_same_is_sure_of_it():
    for metric, value in (("auroc", 0.5), ("mae", 0.0), ("r2", 1.0), ("cosine", 0.3)):
        made = intervals.interval(metric, value, np.full(200, value), smallest=10)
        assert (made.value, made.low, made.high) == (value, value, value), metric


@pytest.mark.parametrize("unit", [1e-18, 1e-12, 1.0, 1e15])
def test_the_unit_of_a_target_changes_no_interval_and_no_p(unit):
    """Grams per millilitre of what is measured in nanograms per litre."""
    rng = np.random.default_rng(0)
    label_N = rng.lognormal(size=100)
    found = []
    for scale in (1.0, unit):
        outputs = label_N + np.random.default_rng(1).normal(size=(2, 100))
        one, other = (
            _scored("regression", (scale * label_N).astype(np.float32), scale * output_N[:, None])
            for output_N in outputs
        )
        names = dict(method="a - b", cohort="", probe="")
        for metric in ("mae", "r2"):
            size = scale if metric == "mae" else 1
            found.append(np.divide(one[metric].interval[:3], size))
            pair = ([score._replace(seed=ALL)] for score in (one[metric], other[metric]))
            gap, p = rows.differences(*pair, **names)
            found.append([p["value"], *(gap[k] / size for k in ("value", "ci_low", "ci_high"))])
    for known, again in zip(found[:4], found[4:], strict=True):
        assert again == pytest.approx(known, rel=1e-4) and known[1] != known[2]


def test_what_rounding_leaves_of_a_difference_is_none():
    sample_R = 1e5 * np.random.default_rng(0).random(300)
    noise_R = 1e-12 * np.random.default_rng(1).normal(size=300)
    gap = intervals.difference(1e-12, sample_R, sample_R + noise_R, smallest=20)
    assert gap.p == 1


@pytest.mark.parametrize("metric", ["auroc", "mae", "brier_2", "r2", "cosine"])
def test_with_many_patients_it_is_that_of_percentiles(metric):
    sample_R = np.random.default_rng(1).normal(0.7, 0.005, size=4000)
    made = intervals.interval(metric, 0.7, sample_R, smallest=2000)
    assert (made.low, made.high) == pytest.approx(np.percentile(sample_R, (2.5, 97.5)), abs=6e-4)


@pytest.mark.parametrize(
    ("metric", "value", "low", "high"),
    [("auroc", 0.98, 0, 1), ("mae", 0.1, 0, math.inf), ("r2", 0.9, -math.inf, 1)],
)
def test_an_interval_is_longer_on_the_side_where_there_is_room(metric, value, low, high):
    sample_R = np.random.default_rng(0).normal(value, 0.02, size=500)
    made = intervals.interval(metric, value, sample_R, smallest=8)
    assert low < made.low < value < made.high < high
    toward_low = value - made.low > made.high - value
    assert toward_low == (metric != "mae")


@pytest.mark.parametrize("metric", ["brier_365", "ibs", "auroc"])
def test_two_patients_tell_nothing_and_no_end_leaves_what_can_be(metric):
    """A Brier score of 35 was an end of an interval."""
    sample_R = np.random.default_rng(0).uniform(0.01, 0.15, size=500)
    made = intervals.interval(metric, 0.06, sample_R, smallest=2)
    assert 0 <= made.low < 0.06 < made.high <= 1


def test_the_two_sides_of_a_ranking_mirror_each_other():
    sample_R = np.random.default_rng(0).normal(0.98, 0.02, size=500)
    made = intervals.interval("auroc", 0.98, sample_R, smallest=3)
    mirrored = intervals.interval("auroc", 1 - 0.98, 1 - sample_R, smallest=3)
    assert (made.low, made.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


def test_without_a_spread_of_patients_it_is_that_of_t_over_the_draws():
    value, error = DRAWN.mean(), DRAWN.std(ddof=1) / 5**0.5
    flat_R = np.full(300, value)
    made = intervals.interval("auroc", value, flat_R, smallest=20, draws=[DRAWN])
    ends = student.interval(0.95, 4, math.log(value / (1 - value)), error / value / (1 - value))
    assert (made.low, made.high) == pytest.approx([1 / (1 + math.exp(-end)) for end in ends])
    gap = intervals.difference(value, flat_R, np.zeros(300), smallest=20, draws=[DRAWN])
    assert gap.p == pytest.approx(2 * student.sf(value / error, 4))
    assert (gap.low, gap.high) == pytest.approx(student.interval(0.95, 4, value, error))


def test_patients_and_draws_are_added_as_welch_does():
    sample_R = np.random.default_rng(0).normal(0.3, 0.03, size=800)
    gap = intervals.difference(0.3, sample_R, np.zeros(800), smallest=31, draws=[DRAWN, 2 * DRAWN])
    low, high = np.percentile(sample_R, (15.87, 84.13))
    squares = np.array([(high - low) ** 2 / 4, *(np.array([1, 4]) * np.var(DRAWN, ddof=1) / 5)])
    freedom = squares.sum() ** 2 / (squares**2 / [30, 4, 4]).sum()
    t = 0.3 / squares.sum() ** 0.5
    assert gap.p == pytest.approx(2 * student.sf(t, freedom), rel=1e-2)
    half = student.ppf(0.975, freedom) * squares.sum() ** 0.5
    assert (gap.low, gap.high) == pytest.approx((0.3 - half, 0.3 + half), rel=1e-3)


def test_draws_that_are_alike_or_alone_or_undefined_change_nothing():
    sample_R = np.random.default_rng(0).normal(0.66, 0.3, size=50)

    def made(draws):
        return intervals.difference(0.66, sample_R, np.zeros(50), smallest=9, draws=draws)

    for draws in ([np.full(5, 0.1)], [np.array([0.1])], [np.array([0.1, np.nan])]):
        assert made(draws) == made([])
    assert made([np.append(DRAWN, np.nan)]) == made([DRAWN]) != made([])


def test_a_mean_over_draws_is_covered_as_often_as_it_says():
    """1,000 means over 5 draws with 3 shares of the two uncertainties: 95 % within 4 sigma, or a
    little more, as is known of Welch's interval; over patients alone it is far less."""
    rng, normal_R = np.random.default_rng(0), norm.ppf((np.arange(400) + 0.5) / 400)
    for patients, draws in ((1.0, 0.3), (1.0, 2.0), (0.3, 2.0)):
        held = np.zeros(2)
        for _ in range(1000):
            drawn_S = draws * rng.normal(size=5)
            value = drawn_S.mean() + patients * rng.normal()
            sample_R = value + patients * normal_R
            for i, values in enumerate(([], [drawn_S])):
                about = dict(smallest=1000, draws=values)
                made = intervals.interval("cosine", value, sample_R, **about)
                held[i] += made.low <= 0 <= made.high
        assert 922 < held[1] < 985 and (draws < 1 or held[0] < 910), (patients, draws, held)


def test_a_difference_turns_its_sign_and_stays_in_its_limits():
    a_R, b_R = np.random.default_rng(0).normal([[0.95], [0.2]], 0.3, size=(2, 400))
    about = dict(smallest=5, draws=[DRAWN], limits=(-1, 1))
    there = intervals.difference(0.75, a_R, b_R, **about)
    back = intervals.difference(-0.75, b_R, a_R, **about)
    assert there.high == 1 and there == (-back.value, -back.high, -back.low, back.p)


def test_where_every_resample_agrees_the_patients_vote():
    """As a sign test: of 10 patients on one side p is 2 / 2^10."""
    made = intervals.difference(0.5, np.ones(200), np.full(200, 0.5), smallest=10)
    assert made == (0.5, 0.5, 0.5, pytest.approx(binomtest(10, 10).pvalue))
    same = intervals.difference(0.0, np.ones(200), np.ones(200), smallest=10)
    assert same == (0, 0, 0, 1)


def test_resamples_in_which_it_is_not_defined_are_left_out_and_counted():
    sample_R = np.array([0.7, np.nan, 0.8, 0.9, np.nan])
    made = intervals.interval("auroc", 0.8, sample_R, smallest=5)
    known = intervals.interval("auroc", 0.8, sample_R[[0, 2, 3]], smallest=5)
    assert made == known._replace(degenerate=2)
    none = intervals.interval("auroc", 0.8, np.full(5, np.nan), smallest=5)
    assert math.isnan(none.low) and math.isnan(none.high) and none.degenerate == 5
    gap = intervals.difference(0.1, sample_R, np.full(5, np.nan), smallest=5)
    assert math.isnan(gap.low) and math.isnan(gap.p)


def _scored(kind: str, value_N, output_NK) -> dict:
    task = tasks.Task("y", kind, ("no", "yes") if kind == "classification" else (), value_N)
    made = [problem.Prediction(sampling.Draw(task, 1.0, 0, np.ones(3, bool), 0), output_NK, {})]
    every_N = np.arange(len(value_N))
    scores = rows.evaluate(made, every_N, every_N, samples=200, seed=0)
    return {score.metric: score for score in scores if score.seed == 0}


def test_a_probe_counts_the_patients_of_the_smaller_class_and_all_of_a_regression():
    label_N, output_NK = _drawn(np.random.default_rng(0), 0.9, 60, 12)
    of_classes = _scored("classification", label_N, output_NK)
    of_numbers = _scored("regression", label_N, output_NK[:, 1:])
    assert set(of_classes) == {"auroc", "average_precision"} and set(of_numbers) == {"mae", "r2"}
    for found, smallest in ((of_classes, 12), (of_numbers, 60)):
        for name, score in found.items():
            known = name, score.interval.value, score.sample_R
            assert score.interval == intervals.interval(*known, smallest=smallest)
    perfect = _scored("classification", label_N, np.stack([1 - label_N, label_N], 1))
    assert perfect["auroc"].interval[:3] == pytest.approx((1.0, 0.025 ** (1 / 12), 1.0))


def test_a_class_that_no_test_patient_has_makes_no_interval_longer():
    label_N, output_NK = _drawn(np.random.default_rng(1), 0.9, 60, 12)
    every_N, found = np.arange(60), []
    for classes in (("no", "yes"), ("no", "yes", "never")):
        task = tasks.Task("y", "classification", classes, label_N)
        filled_NK = np.concatenate([output_NK, np.zeros((60, len(classes) - 2))], axis=1)
        draw = sampling.Draw(task, 1.0, 0, np.ones(3, bool), 0)
        made = [problem.Prediction(draw, filled_NK, {})]
        scores = rows.evaluate(made, every_N, every_N, samples=200, seed=0)
        found.append(next(s for s in scores if s.seed == ALL and s.metric == "auroc"))
    two, three = found
    assert three.interval.value == pytest.approx(two.interval.value)
    lengths = [score.interval.high - score.interval.low for score in found]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.3)  # 12.7 / 2.2 of one degree of freedom
    assert (two.per_class, three.per_class, three.effective) == (12, 0, 12)
    assert rows.smallest(two) == rows.smallest(three) == 12
    assert rows.few(three) and not rows.few(two)


def test_what_is_predicted_alike_is_resampled_once(monkeypatch):
    """With all labels the seeds of a probe without a random start do the same."""
    label_N, output_NK = _drawn(np.random.default_rng(2), 0.9, 60, 12)
    task, every_N, asked = (
        tasks.Task("y", "classification", ("no", "yes"), label_N),
        np.arange(60),
        [],
    )
    outputs = [output_NK, output_NK.copy(), 1 - output_NK, output_NK]
    made = [
        problem.Prediction(sampling.Draw(task, 1.0, seed, np.ones(3, bool), 0), output, {})
        for seed, output in enumerate(outputs)
    ]

    def count(*given):
        asked.append(given)
        return stats.auroc(*given)

    whole = rows.evaluate(made, every_N, every_N, samples=50, seed=0)
    monkeypatch.setattr(stats, "metrics", lambda kind, clock=None: {"auroc": count})
    scores = {s.seed: s for s in rows.evaluate(made, every_N, every_N, samples=50, seed=0)}
    assert len(asked) == 2 * 2  # as they are and resampled, of two predictions
    assert list(scores) == [0, 1, 2, 3, ALL]
    alone = {s.seed: s for s in whole if s.metric == "auroc"}
    for seed, score in scores.items():
        assert score.interval == alone[seed].interval
    assert [scores[seed].draws for seed in range(4)] == [
        {seed: scores[seed].interval.value} for seed in range(4)
    ]
    assert scores[ALL].draws == {seed: scores[seed].interval.value for seed in range(4)}
    assert scores[2].interval.value == pytest.approx(1 - scores[0].interval.value)


def test_what_ranks_and_what_errs_have_their_scales():
    for name in ("auroc", "average_precision", "c_index", "c_index_ipcw", "auc_2", "auc_0.5"):
        assert intervals.scale(name) is intervals.LOGIT
    for name in ("brier_2", "ibs"):
        assert intervals.scale(name) is intervals.LOGIT
    assert intervals.scale("mae") is intervals.LOGARITHM
    assert intervals.scale("r2") is intervals.OF_THE_REST
    assert intervals.scale("cls_change") is intervals.ITSELF


@pytest.mark.parametrize("on", [intervals.LOGIT, intervals.LOGARITHM, intervals.OF_THE_REST])
@pytest.mark.parametrize("value", [0.03, 0.5, 0.97])
def test_a_scale_is_gone_back_and_its_slope_is_that_of_a_small_step(on, value):
    assert on.inside(value) and on.back(on.there(value)) == pytest.approx(value)
    step = on.there(value + 1e-6) - on.there(value - 1e-6)
    assert on.slope(value) == pytest.approx(abs(step) / 2e-6, rel=1e-4)


def test_near_1_it_is_no_longer_than_it_need_be_and_percentiles_miss():
    """docs/statistics.md has all numbers."""
    here, percentiles = coverage.area_held(0.97, 135, 14, runs=200)
    assert here[0] > 0.9 > percentiles[0] and percentiles[1] > 0.1 > percentiles[2]


def test_of_few_patients_a_small_p_is_as_rare_as_it_says():
    """As Holm asks for; docs/statistics.md has all numbers."""
    for patients in (10, 40):
        first, second, third = level.tail(patients, runs=300)
        assert first < 5 + 100 * FOUR_SIGMA and second < 4 and third <= 0.7
