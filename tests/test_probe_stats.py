"""Metrics and intervals against scikit-learn, a naive loop and known truths."""

import functools

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn import metrics as sk

from tvrl_jax.errors import UserError
from tvrl_jax.probing import delong, heads, intervals, problem, ranks, rows, sampling, stats, tasks


def _binary(rng, count=80, levels=0):
    label_N = (rng.random(count) < 0.3).astype(float)
    score_N = label_N + rng.normal(size=count)
    if levels:
        score_N = np.round(score_N * levels) / levels
    return label_N, np.stack([1 - score_N, score_N], 1)


@pytest.mark.parametrize("levels", [0, 1])
def test_binary_metrics_equal_sklearn_also_with_ties(levels):
    rng = np.random.default_rng(levels)
    label_N, output_NK = _binary(rng, levels=levels)
    weight_RN = rng.integers(0, 4, size=(5, len(label_N))).astype(float)
    for r, value in enumerate(stats.auroc(label_N, output_NK, weight_RN)):
        expected = sk.roc_auc_score(label_N, output_NK[:, 1], sample_weight=weight_RN[r])
        assert value == pytest.approx(expected, abs=1e-12)
    for r, value in enumerate(stats.average_precision(label_N, output_NK, weight_RN)):
        expected = sk.average_precision_score(label_N, output_NK[:, 1], sample_weight=weight_RN[r])
        assert value == pytest.approx(expected, abs=1e-12)


def test_more_than_two_classes_are_the_mean_of_one_against_the_rest():
    rng = np.random.default_rng(0)
    label_N = rng.integers(0, 3, size=60).astype(float)
    output_NK = rng.dirichlet(np.ones(3), size=60) + 0.2 * np.eye(3)[label_N.astype(int)]
    output_NK /= output_NK.sum(1, keepdims=True)
    one = stats.once(60)
    auroc = sk.roc_auc_score(label_N, output_NK, multi_class="ovr", average="macro")
    assert stats.auroc(label_N, output_NK, one)[0] == pytest.approx(auroc, abs=1e-12)
    precision = sk.average_precision_score(np.eye(3)[label_N.astype(int)], output_NK)
    got = stats.average_precision(label_N, output_NK, one)[0]
    assert got == pytest.approx(precision, abs=1e-12)


def test_a_constant_score_is_at_chance():
    label_N = np.array([0, 0, 0, 1.0])
    output_NK = np.tile([0.7, 0.3], (4, 1))
    assert stats.auroc(label_N, output_NK, stats.once(4))[0] == 0.5
    assert stats.average_precision(label_N, output_NK, stats.once(4))[0] == 0.25


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("shift", [-300, -40, 0, 40, 300])
def test_a_head_that_is_sure_of_a_class_ranks_as_its_logits_do(classes, shift):
    """From a difference of 37 on every probability is exactly 1: another scanner's test set."""
    rng = np.random.default_rng(0)
    label_N = (rng.random(80) < 0.3).astype(float)
    logit_NK = np.full((80, classes), -350.0)
    logit_NK[:, 0], logit_NK[:, 1] = 0, shift + 4 * label_N + 3 * rng.normal(size=80)
    output_NK = heads.decode("classification", logit_NK, 0, 1)
    for metric, twin in (
        (stats.auroc, sk.roc_auc_score),
        (stats.average_precision, sk.average_precision_score),
    ):
        found = metric(label_N, output_NK, stats.once(80))[0]
        twins = [twin(label_N == 1, logit_NK[:, 1])]
        twins += [twin(label_N == 0, -logit_NK[:, 1])] if classes == 3 else []
        assert found == pytest.approx(np.mean(twins), abs=1e-12)
    if classes == 2:
        task = tasks.Task("AF", "classification", ("no", "yes"), label_N.astype(np.float32))
        made = rows._components(task, label_N, output_NK)
        assert delong.auroc(made) == stats.auroc(label_N, output_NK, stats.once(80))[0]


def test_equal_probabilities_tie_however_the_rest_is_split():
    output_NK = np.array([[0.6, 0.2, 0.2], [0.6, 0.1, 0.3], [0.6, 0.3, 0.1], [0.5, 0.5, 0]])
    assert ranks.of_class(output_NK, 0).tolist() == [1, 1, 1, 0]
    one_hot_NK = np.eye(3)[[0, 1, 2, 0, 0]]
    assert ranks.of_class(one_hot_NK, 0).tolist() == [1, 0, 0, 1, 1]
    for constant in ([0.3, 0.7], [1e-20, 1.0], [0.0, 1.0]):
        assert not ranks.of_class(np.tile(constant, (5, 1)), 1).any()


def test_regression_metrics_equal_sklearn():
    rng = np.random.default_rng(1)
    label_N, guess_N = rng.normal(60, 10, size=50), rng.normal(60, 10, size=50)
    weight_RN = rng.integers(0, 4, size=(3, 50)).astype(float)
    for r in range(3):
        arguments = {"sample_weight": weight_RN[r]}
        mae = stats.mae(label_N, guess_N[:, None], weight_RN)[r]
        assert mae == pytest.approx(sk.mean_absolute_error(label_N, guess_N, **arguments))
        r2 = stats.r2(label_N, guess_N[:, None], weight_RN)[r]
        assert r2 == pytest.approx(sk.r2_score(label_N, guess_N, **arguments))


def test_resampling_draws_whole_patients_as_a_naive_loop_does():
    subject_N = np.array([7, 7, 3, 9, 9, 9, 4])
    weight_RN = stats.resample(subject_N, samples=200, seed=0)
    for patient in np.unique(subject_N):
        own_RM = weight_RN[:, subject_N == patient]
        assert (own_RM == own_RM[:, :1]).all()
    first_N = [int(np.flatnonzero(subject_N == patient)[0]) for patient in np.unique(subject_N)]
    assert (weight_RN[:, first_N].sum(1) == 4).all()
    assert abs(weight_RN[:, first_N].mean() - 1) < 1e-12
    again_RN = stats.resample(subject_N, samples=200, seed=0)
    assert (weight_RN == again_RN).all()
    label_N, output_NK = np.arange(7.0), np.arange(7.0)[:, None] ** 2
    fast_R = stats.mae(label_N, output_NK, weight_RN)
    for r in range(20):
        rows = np.repeat(np.arange(7), weight_RN[r].astype(int))
        assert fast_R[r] == pytest.approx(np.abs(output_NK[rows, 0] - label_N[rows]).mean())


def _naive_mae(label, output):
    return sum(abs(o[0] - y) for y, o in zip(label, output, strict=True)) / len(label)


def _naive_r2(label, output):
    mean = sum(label) / len(label)
    lost = sum((y - o[0]) ** 2 for y, o in zip(label, output, strict=True))
    return 1 - lost / sum((y - mean) ** 2 for y in label)


def _naive_auroc(label, output):
    """Share of pairs in the right order, one class against the rest, mean over the classes."""
    classes = [1] if len(output[0]) == 2 else sorted(set(map(int, label)))
    shares = []
    for k in classes:
        high = [o[k] for y, o in zip(label, output, strict=True) if y == k]
        low = [o[k] for y, o in zip(label, output, strict=True) if y != k]
        right = sum((a > b) + 0.5 * (a == b) for a in high for b in low)
        shares.append(right / len(high) / len(low))
    return sum(shares) / len(shares)


def _naive_average_precision(label, output):
    """At every threshold in turn: precision times the recall that it adds."""
    classes = [1] if len(output[0]) == 2 else sorted(set(map(int, label)))
    areas = []
    for k in classes:
        area, recall = 0.0, 0.0
        for threshold in sorted({o[k] for o in output}, reverse=True):
            called = [y == k for y, o in zip(label, output, strict=True) if o[k] >= threshold]
            now = sum(called) / sum(y == k for y in label)
            area, recall = area + sum(called) / len(called) * (now - recall), now
        areas.append(area)
    return sum(areas) / len(areas)


def _sk_auroc(label_N, output_NK):
    score = output_NK[:, 1] if output_NK.shape[1] == 2 else output_NK
    return sk.roc_auc_score(label_N, score, multi_class="ovr")


def _sk_average_precision(label_N, output_NK):
    if output_NK.shape[1] == 2:
        return sk.average_precision_score(label_N, output_NK[:, 1])
    return sk.average_precision_score(np.eye(output_NK.shape[1])[label_N.astype(int)], output_NK)


def _sk_first(metric):
    return lambda label_N, output_NK: metric(label_N, output_NK[:, 0])


TWINS = {
    "mae": (_naive_mae, _sk_first(sk.mean_absolute_error)),
    "r2": (_naive_r2, _sk_first(sk.r2_score)),
    "auroc": (_naive_auroc, _sk_auroc),
    "average_precision": (_naive_average_precision, _sk_average_precision),
}


def _outputs(rng, label_N, classes: int):
    """Guesses, or probabilities of classes with ties among them."""
    if not classes:
        return rng.normal(size=(len(label_N), 1)) + label_N[:, None]
    score_NK = np.exp(
        rng.normal(size=(len(label_N), classes)) + np.eye(classes)[label_N.astype(int)]
    )
    output_NK = np.round(score_NK / score_NK.sum(1, keepdims=True), 2)
    output_NK[:, 0] = 1 - output_NK[:, 1:].sum(1)
    return output_NK


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_every_metric_of_a_resample_is_that_of_a_loop_over_the_drawn_patients(classes):
    """Patients are drawn one by one, their rows listed, and the metric taken of the list."""
    rng = np.random.default_rng(classes)
    subject_N = rng.permutation(np.repeat(np.arange(20), rng.integers(1, 4, size=20)))
    count, samples = len(subject_N), 25
    label_N = (np.arange(count) % classes if classes else rng.normal(size=count)).astype(float)
    output_NK = _outputs(rng, label_N, classes)
    weight_RN = stats.resample(subject_N, samples=samples, seed=5)
    drawn_RP = np.random.default_rng(5).integers(20, size=(samples, 20))
    kind = "classification" if classes else "regression"
    for name, metric in stats.metrics(kind).items():
        fast_R = metric(label_N, output_NK, weight_RN)
        for drawn_P, fast in zip(drawn_RP, fast_R, strict=True):
            rows = [i for patient in drawn_P for i in np.flatnonzero(subject_N == patient)]
            naive, reference = TWINS[name]
            assert fast == pytest.approx(naive(label_N[rows], output_NK[rows].tolist()), abs=1e-9)
            assert fast == pytest.approx(reference(label_N[rows], output_NK[rows]), abs=1e-9)


def _clustered(rng, patients: int, of_each: int = 3):
    """Errors of patients whose series are alike, and whose series belongs to whom."""
    effect_P = rng.normal(size=patients)
    error_N = np.repeat(effect_P, of_each) + 0.3 * rng.normal(size=patients * of_each)
    return error_N, np.repeat(np.arange(patients), of_each)


def _coverage(truth: float, patients: int, runs: int, cluster: bool) -> float:
    rng, covered = np.random.default_rng(2), 0
    for run in range(runs):
        error_N, subject_N = _clustered(rng, patients)
        unit_N = subject_N if cluster else np.arange(len(subject_N))
        weight_RN = stats.resample(unit_N, samples=300, seed=run)
        mae_R = stats.mae(np.zeros(len(error_N)), error_N[:, None], weight_RN)
        value = stats.mae(np.zeros(len(error_N)), error_N[:, None], stats.once(len(error_N)))[0]
        made = intervals.interval("mae", value, mae_R, smallest=len(np.unique(unit_N)))
        covered += made.low <= truth <= made.high
    return covered / runs


def test_an_interval_covers_the_truth_as_often_as_it_says():
    """95 % of 400 intervals, within four standard errors; series taken for patients do not."""
    truth, error = np.sqrt(2 * 1.09 / np.pi), np.sqrt(0.95 * 0.05 / 400)
    assert abs(_coverage(truth, 100, 400, cluster=True) - 0.95) < 4 * error
    assert _coverage(truth, 100, 100, cluster=False) < 0.95 - 8 * error


def test_p_of_two_equal_encoders_is_uniform():
    """1,000 pairs of equally good ones: p is below a level as often as the level says."""
    rng, p_S = np.random.default_rng(4), []
    for run in range(1000):
        subject_N = np.repeat(np.arange(60), 2)
        shared_N = np.repeat(rng.normal(size=60), 2)
        output_2N = shared_N + rng.normal(size=(2, 120))
        weight_RN = stats.resample(subject_N, samples=199, seed=run)
        one = stats.once(120)
        value, resampled = [], []
        for output_N in output_2N:
            value.append(stats.mae(np.zeros(120), output_N[:, None], one)[0])
            resampled.append(stats.mae(np.zeros(120), output_N[:, None], weight_RN))
        gap = intervals.difference(value[0] - value[1], *resampled, smallest=60)
        p_S.append(gap.p)
    for limit in (0.05, 0.2, 0.5):
        error = np.sqrt(limit * (1 - limit) / 1000)
        assert abs(np.mean(np.array(p_S) <= limit) - limit) < 4 * error


def _ranked(rng, label_N):
    """A score that knows nothing of the labels, as a probe predicts it."""
    score_N = rng.random(len(label_N))
    return np.stack([1 - score_N, score_N], 1)


def _starred(make, metric, *, positives: int, runs: int = 200, count: int = 60) -> float:
    """How often the paired interval of two scores parts from 0, of the labels' own making."""
    rng, found = np.random.default_rng(positives), 0
    label_N = (np.arange(count) < positives).astype(float)
    for run in range(runs):
        weight_RN = stats.resample(np.arange(count), samples=200, seed=run)
        pair = make(rng, label_N)
        values = [metric(label_N, output_NK, stats.once(count))[0] for output_NK in pair]
        resampled = [metric(label_N, output_NK, weight_RN) for output_NK in pair]
        gap = intervals.difference(values[0] - values[1], *resampled, smallest=positives)
        found += gap.low > 0 or gap.high < 0
    return found / runs


@pytest.mark.parametrize("positives", [10, 20])
@pytest.mark.parametrize("metric", [stats.average_precision, stats.auroc])
def test_of_two_random_rankings_one_is_better_as_rarely_as_it_says(metric, positives):
    def two(rng, label_N):
        return _ranked(rng, label_N), _ranked(rng, label_N)

    level, error = 0.05, np.sqrt(0.05 * 0.95 / 200)
    assert _starred(two, metric, positives=positives) < level + 4 * error


@pytest.mark.parametrize("metric", [stats.average_precision, stats.auroc])
def test_a_random_ranking_beats_a_constant_as_rarely_as_it_says(metric):
    """In average precision, too, whose expected value of a random ranking is above a constant's."""

    def against(rng, label_N):
        return _ranked(rng, label_N), np.tile([0.8, 0.2], (len(label_N), 1))

    level, error = 0.05, np.sqrt(0.05 * 0.95 / 200)
    assert _starred(against, metric, positives=10) < level + 4 * error


def test_r2_far_from_zero_keeps_its_digits():
    """Years of birth, or a day counted from 1970, vary little for their size."""
    rng = np.random.default_rng(0)
    label_N = 1e5 + rng.normal(size=60)
    guess_N1 = (label_N + rng.normal(size=60))[:, None]
    weight_RN = rng.integers(0, 3, (5, 60)).astype(float)
    for got, weight_N in zip(stats.r2(label_N, guess_N1, weight_RN), weight_RN, strict=True):
        wanted = sk.r2_score(label_N, guess_N1[:, 0], sample_weight=weight_N)
        assert got == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("unit", [1e-25, 1.0, 1e19, 1e30])
def test_r2_knows_no_unit(unit):
    """Squares of float32 would be 0, or infinite."""
    rng = np.random.default_rng(0)
    label_N = (unit * rng.normal(size=60)).astype(np.float32)
    guess_N1 = (label_N + unit * rng.normal(size=60)).astype(np.float32)[:, None]
    wanted = sk.r2_score(label_N.astype(float) / unit, guess_N1[:, 0].astype(float) / unit)
    assert stats.r2(label_N, guess_N1, stats.once(60))[0] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", [stats.auroc, stats.average_precision])
def test_a_prediction_that_is_no_number_has_no_rank(metric, classes):
    """It would count as the highest, and where all cases have it, as a perfect ranking."""
    label_N = (np.arange(40) < 10).astype(float)
    output_NK = np.random.default_rng(0).dirichlet(np.ones(classes), size=40)
    output_NK[:10, 1] = np.nan
    assert np.isnan(metric(label_N, output_NK, np.ones((3, 40)))).tolist() == [True] * 3
    task = tasks.Task("AF", "classification", ("no", "yes"), label_N.astype(np.float32))
    assert rows._components(task, label_N, output_NK[:, :2]) is None


def test_resamples_of_one_class_are_left_out_and_counted():
    label_N, subject_N = np.array([0, 0, 0, 1.0]), np.arange(4)
    weight_RN = stats.resample(subject_N, samples=400, seed=0)
    output_NK = np.stack([1 - label_N, label_N], 1)
    for metric in (stats.auroc, stats.average_precision):
        sample_R = metric(label_N, output_NK, weight_RN)
        made = intervals.interval(metric.__name__, 1.0, sample_R, smallest=1)
        assert made.degenerate == np.sum(weight_RN[:, 3] % 4 == 0)
        assert made.degenerate > 0 and (made.low, made.high) == pytest.approx((0.025, 1.0))
    one_patient_R = np.max(weight_RN, 1) == 4
    r2_R = stats.r2(np.arange(4.0), np.zeros((4, 1)), weight_RN)
    assert (np.isnan(r2_R) == one_patient_R).all() and one_patient_R.any()


def test_a_paired_difference_is_narrower_than_two_separate_intervals():
    rng = np.random.default_rng(3)
    label_N, shared_N = rng.normal(size=100), rng.normal(size=100)
    weight_RN = stats.resample(np.arange(100), samples=1000, seed=0)
    good_R = stats.mae(label_N, (label_N + shared_N)[:, None], weight_RN)
    worse_R = stats.mae(label_N, (label_N + 1.2 * shared_N)[:, None], weight_RN)
    gap = intervals.difference(good_R.mean() - worse_R.mean(), good_R, worse_R, smallest=100)
    assert gap.high < 0 and gap.p < 0.01
    alone = intervals.interval("mae", good_R.mean(), good_R, smallest=100)
    assert gap.high - gap.low < 0.5 * (alone.high - alone.low)
    same = intervals.difference(0.0, good_R, good_R, smallest=100)
    assert (same.low, same.high, same.p) == (0, 0, 1)


def _draws_of_a_score(noise: float, seeds=(0, 1, 2), restarts: int = 1, shift: float = 0.0):
    """Predictions of 60 patients that are as good as their draw of labels, and its start."""
    label_N = np.random.default_rng(0).normal(size=60)
    task = tasks.Task("y", "regression", (), label_N.astype(np.float32))
    return [
        problem.Prediction(
            sampling.Draw(task, 1.0, seed, np.ones(3, bool), restart),
            (label_N + 0.5 + shift + noise * seed + 0.1 * noise * restart)[:, None],
            {},
        )
        for seed in seeds
        for restart in range(restarts)
    ]


def _over_all(made, metric: str = "mae"):
    every_N = np.arange(60)
    scores = rows.evaluate(made, every_N, every_N, samples=500, seed=0)
    return next(s for s in scores if (s.seed, s.metric) == ("all", metric))


@pytest.mark.parametrize("restarts", [1, 3])
def test_the_interval_over_all_seeds_holds_their_spread_draw_by_draw(restarts):
    score = _over_all(_draws_of_a_score(0.1, restarts=restarts))
    start = 0.01 * (restarts - 1) / 2  # the restarts of a draw are averaged
    assert list(score.draws.values()) == pytest.approx([0.5 + start, 0.6 + start, 0.7 + start])
    assert (score.interval.low, score.interval.high) == pytest.approx(_of_draws(0.6 + start))
    alone = _over_all(_draws_of_a_score(0.0, restarts=restarts))
    assert alone.interval == _by_patients(alone)
    one = _over_all(_draws_of_a_score(0.1, seeds=(2,), restarts=restarts))
    assert one.interval == _by_patients(one)


def _of_draws(value: float) -> list[float]:
    """Of three draws 0.1 apart, on the scale of an error; the patients are all alike."""
    reach = student.ppf(0.975, 2) * 0.1 / 3**0.5 / value
    return [value * np.exp(-reach), value * np.exp(reach)]


def _by_patients(score: rows.Score) -> intervals.Interval:
    known = score.interval.value, score.sample_R
    return intervals.interval(score.metric, *known, smallest=score.patients)


def test_pretrainings_do_not_make_more_draws_of_one():
    """A draw holds the same patients for every encoder: their mean is one value of this draw."""
    pretrained = [_over_all(_draws_of_a_score(0.1, shift=0.2 * k)) for k in range(3)]
    made = rows.mean(pretrained)
    assert made.draws == pytest.approx({0: 0.7, 1: 0.8, 2: 0.9})
    assert (made.interval.low, made.interval.high) == pytest.approx(_of_draws(0.8))


def test_a_difference_holds_the_spread_of_the_differences_of_its_draws():
    made = _draws_of_a_score(0.1)
    other = [p._replace(test_NK=p.test_NK + 0.3) for p in made]  # always as much worse
    luckier = [p._replace(test_NK=p.test_NK + 0.2 * p.draw.seed) for p in made]
    ours = _over_all(made)
    for theirs, half in ((other, 0), (luckier, student.ppf(0.975, 2) * 0.2 / 3**0.5)):
        names = dict(method="a - b", cohort="", probe="")
        row, p = rows.differences([ours], [_over_all(theirs)], **names)
        assert row["ci_high"] - row["value"] == pytest.approx(half, abs=0.01)
        assert (p["value"] < 0.05) == (half == 0)


def _unequal_patients(rng, classes: int):
    """Patients with one to four series each, in mixed order; class k is 2**k times rarer."""
    patient_P = rng.permutation(1200)
    code_P = np.minimum(rng.geometric(0.5, size=1200) - 1, classes - 1)
    subject_N = rng.permutation(np.repeat(patient_P, rng.integers(1, 5, size=1200)))
    code_of = dict(zip(patient_P, code_P, strict=True))
    return subject_N, np.array([code_of[p] for p in subject_N], np.float32)


def test_a_patient_with_series_of_both_classes_counts_for_the_rarer():
    subject_N = np.repeat(np.arange(40), 2)
    value_N = np.zeros(80, np.float32)
    value_N[1:8:2] = 1  # the second eye of patients 0 to 3
    task = tasks.Task("late", "classification", ("no", "yes"), value_N)
    draw = functools.partial(sampling.draw, task, np.arange(80), subject_N)
    for seed in range(5):
        used_N = draw(fraction=0.25, seed=seed)
        assert value_N[used_N].sum() == 1 and used_N.sum() == 2 * (1 + 9)
        assert (draw(fraction=0.125, seed=seed) <= used_N).all()
    with pytest.raises(UserError, match='"yes".*smallest usable fraction is 0.125'):
        draw(fraction=0.1, seed=0)
    both = task._replace(value_N=np.arange(80, dtype=np.float32) % 2)  # nobody is only "no"
    assert sampling.draw(both, np.arange(80), subject_N, fraction=0.1, seed=0).sum() == 8


def test_a_class_that_only_patients_of_rarer_ones_have_is_in_every_draw():
    """Of 20 patients 12 have it in one eye, and none in both."""
    subject_N, index_N = np.repeat(np.arange(20), 2), np.arange(40)
    value_N = np.repeat([1, 2], 20).astype(np.float32)
    value_N[::2][np.arange(20) % 10 < 6] = 0
    task = tasks.Task("grade", "classification", ("a", "b", "c"), value_N)
    added = 0
    for seed in range(50):
        smaller_N = np.zeros(40, bool)
        for fraction in (0.05, 0.1, 0.15, 0.2, 0.3, 1.0):
            used_N = sampling.draw(task, index_N, subject_N, fraction=fraction, seed=seed)
            assert set(value_N[used_N]) == {0, 1, 2} and (smaller_N <= used_N).all()
            rng, share = np.random.default_rng(seed), int(10 * fraction + 0.5)
            rng.permutation(0)  # nobody is of the first class alone
            listed = [rng.permutation(own)[:share] for own in np.arange(20).reshape(2, 10)]
            stratified_N = np.isin(subject_N, listed)
            more = (used_N & ~stratified_N).sum() / 2
            assert (stratified_N <= used_N).all()
            assert more == (0 not in value_N[stratified_N])
            added, smaller_N = added + more, used_N
    assert added > 10


def test_the_fractions_that_would_do_are_named_for_the_neediest_of_all_tasks():
    every_N = np.arange(28)
    common = tasks.Task("EF", "regression", (), every_N.astype(np.float32))
    rare = tasks.Task("CAD", "classification", ("no", "yes"), (every_N < 4).astype(np.float32))

    def draws(asked, fractions):
        return sampling.draws(asked, every_N, every_N, fractions=fractions, seeds=2)

    with pytest.raises(UserError) as error:
        draws((common,), (0.01, 0.1, 1.0))
    words = 'Column "EF": config.fractions holds 0.01, which leaves 0 of 28 training patients'
    assert words in str(error.value)
    assert '--config.fractions="(0.0536, 0.1, 1.0)".' in str(error.value)
    with pytest.raises(UserError) as error:
        draws((common, rare), (0.01, 0.1, 1.0))
    assert 'Column "CAD"' in str(error.value) and '4 training patients of class "yes"' in str(
        error.value
    )
    assert '--config.fractions="(0.125, 1.0)".' in str(error.value)
    assert len(draws((common, rare), (0.125, 1.0))) == 8


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_one_percent_lies_in_ten_lies_in_all_for_every_seed_and_class(classes):
    subject_N, value_N = _unequal_patients(np.random.default_rng(classes), max(classes, 2))
    value_N[np.random.default_rng(9).random(len(value_N)) < 0.1] = np.nan  # some labels missing
    names = tuple("abc"[:classes])
    task = tasks.Task("y", "classification" if classes else "regression", names, value_N)
    every_N, labelled_N = np.arange(len(value_N)), np.isfinite(value_N)
    drawn = {
        (d.fraction, d.seed): d.used_N
        for d in sampling.draws((task,), every_N, subject_N, fractions=(1.0, 0.01, 0.1), seeds=5)
    }
    for seed in range(5):
        small_N, middle_N, all_N = (drawn[fraction, seed] for fraction in (0.01, 0.1, 1.0))
        assert (small_N <= middle_N).all() and (middle_N <= all_N).all()
        assert (all_N == labelled_N).all()
        for fraction, used_N in ((0.01, small_N), (0.1, middle_N)):
            chosen = np.isin(subject_N, subject_N[used_N])
            assert (used_N == (chosen & labelled_N)).all()  # whole patients
            for code in range(classes) or [None]:
                own_N = labelled_N if code is None else value_N == code
                share = len(set(subject_N[own_N & used_N])) / len(set(subject_N[own_N]))
                assert share == pytest.approx(fraction, abs=0.5 / len(set(subject_N[own_N])))
    assert len({drawn[0.01, seed].tobytes() for seed in range(5)}) == 5
