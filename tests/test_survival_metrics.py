"""Ranks, AUC and Brier score of a time to event: naive loops, other libraries, known truths."""

from types import SimpleNamespace

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index
from sklearn import metrics as sk

from tvrl_jax.data.split import SPLITS
from tvrl_jax.errors import UserError
from tvrl_jax.probing import cox, hazard, intervals, stats, survival, survival_metrics, tasks

HORIZONS = (1.0, 2.5)


def _outcomes(rng, count: int, decimals: int = 1):
    """(event, duration), with ties where times are rounded."""
    time_N, until_N = rng.exponential(2, count), rng.uniform(0.2, 6, count)
    seen_N = np.minimum(time_N, until_N)
    return np.stack([time_N <= until_N, np.round(seen_N, decimals)], axis=1).astype(float)


def _clock(test_N2, censored_N2=None, **changes):
    """With the censoring of other series, where they are given."""
    settings = dict(horizons=HORIZONS, tau=0.0, grid=4, column="death", unit="years")
    clock = survival.make_clock(test_N2, **settings | changes)
    if censored_N2 is None:
        return clock
    censored_C, observed_C = survival.censoring(censored_N2)
    return clock._replace(censored_C=censored_C, observed_C=observed_C)


def _outputs(rng, label_N2, columns: int):
    """A risk with ties that knows a little, and survival that falls with time."""
    risk_N = np.round(rng.normal(size=len(label_N2)) - label_N2[:, 1] / 2, 1)
    fall_NK = rng.uniform(0.1, 0.5, size=(len(risk_N), columns)) + 0.2 * np.exp(risk_N)[:, None]
    return np.column_stack([risk_N, np.round(np.exp(-np.cumsum(fall_NK, axis=1)), 2)])


def _naive_censoring(train, time, *, before):
    """P(under observation for longer than, or (before) up to, the time)."""
    share = 1.0
    for c in sorted({t for event, t in train if not event}):
        if c < time or (c == time and not before):
            there = sum(t > c or (t == c and not event) for event, t in train)
            share *= 1 - sum(t == c and not event for event, t in train) / there
    return share


def _naive_rank(label, score, case, other, gain):
    right = pairs = 0.0
    for i, own in enumerate(label):
        for j, one in enumerate(label):
            if case(own) and other(own, one):
                pairs += gain(own)
                right += gain(own) * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
    return right / pairs


def _free_longer(own, one):
    return one[1] > own[1] or (one[1] == own[1] and not one[0])


def _naive(name, train, label, output, clock):
    def observed(time, before):
        return _naive_censoring(train, time, before=before)

    def brier(time, column):
        total = counted = 0.0
        for (event, t), row in zip(label, output, strict=True):
            if (event and t <= time) or t > time:
                free = t > time
                weight = 1 / (observed(time, False) if free else observed(t, True))
                total += weight * (free - row[column]) ** 2
                counted += weight
        return total / counted

    risk = [row[0] for row in output]
    if name == "c_index":
        return _naive_rank(label, risk, lambda a: a[0], _free_longer, lambda a: 1.0)
    if name == "c_index_ipcw":
        early = lambda a: a[0] and a[1] < clock.tau  # noqa: E731
        return _naive_rank(label, risk, early, _free_longer, lambda a: observed(a[1], True) ** -2)
    if name == "ibs":
        steps = [0.0] + [brier(t, 3 + k) for k, t in enumerate(clock.grid_G)]
        return np.trapezoid(steps, dx=clock.grid_G[0]) / clock.grid_G[-1]
    kind, horizon = name.split("_")
    column = 1 + HORIZONS.index(float(horizon))
    if kind == "brier":
        return brier(float(horizon), column)
    score = [(-row[column], row[0]) for row in output]  # equal curves: the risk
    case = lambda a: a[0] and a[1] <= float(horizon)  # noqa: E731
    free = lambda a, b: b[1] > float(horizon)  # noqa: E731
    return _naive_rank(label, score, case, free, lambda a: 1 / observed(a[1], True))


@pytest.mark.parametrize("seed", [0, 1])
def test_every_metric_of_a_resample_is_that_of_a_loop_over_pairs(seed):
    """Times and risks are tied; the drawn series are listed as often as they were drawn."""
    rng = np.random.default_rng(seed)
    train_N2, label_N2 = _outcomes(rng, 60), _outcomes(rng, 30)
    clock = _clock(label_N2, train_N2)
    output_NK = _outputs(rng, label_N2, len(survival.times(clock)))
    weight_RN = stats.resample(np.arange(30) // 2, samples=4, seed=seed)
    named = stats.metrics("survival", clock)
    assert list(named)[:3] == ["c_index", "c_index_ipcw", "auc_1"] and len(named) == 7
    for name, metric in named.items():
        for r, value in enumerate(metric(label_N2, output_NK, weight_RN)):
            rows = np.repeat(np.arange(30), weight_RN[r].astype(int))
            given = (train_N2.tolist(), label_N2[rows].tolist(), output_NK[rows].tolist())
            assert value == pytest.approx(_naive(name, *given, clock), abs=1e-12)


TRAIN = """1 2.22 1 3.18 1 1.81 0 2.79 1 0.72 0 1.54 1 0.13 0 0.79 0 0.73 1 1.0 0 1.72 1 1.04 1 2.8
0 3.32 0 3.73 1 6.5"""
TEST = """1 0.17 1 0.98 1 3.14 1 2.0 0 2.85 1 0.12 0 0.89 1 0.85 1 1.17 0 1.48 1 4.31 0 2.97 1 5.34
0 4.33"""
OUTPUT = """-0.7 0.67 0.43 -0.1 0.52 0.29 -1.5 0.82 0.62 -0.5 0.62 0.38 -2.1 0.89 0.75
-0.6 0.65 0.72 -0.5 0.62 0.38 0.6 0.35 0.17 0.8 0.31 0.14 -1.8 0.86 0.69 -2.2 0.9 0.77
-0.3 0.57 0.33 -3.8 0.98
0.94 -1.9 0.87 0.71"""
RECORDED = {  # by scikit-survival 0.28: concordance_index_ipcw with tau=3, and so on
    "c_index": 0.75,
    "c_index_ipcw": 0.7779277836254632,
    "auc_1.5": 0.8961038961038961,
    "auc_3": 0.9281437125748503,
    "brier_1.5": 0.13641785714285715,
    "brier_3": 0.11195238095238094,
}


def test_a_recording_of_scikit_survival_is_met():
    train_N2, test_N2 = (np.array(text.split(), float).reshape(-1, 2) for text in (TRAIN, TEST))
    clock = _clock(test_N2, train_N2, horizons=(1.5, 3.0))
    output_NK = np.array(OUTPUT.split(), float).reshape(-1, 3)
    for name, value in RECORDED.items():
        if name.startswith("brier"):  # it divides by the series, and not by their weights
            time = float(name.removeprefix("brier_"))
            value *= 14 / _counted(train_N2.tolist(), test_N2.tolist(), time)
        metric = survival_metrics.metrics(clock)[name]
        assert metric(test_N2, output_NK, stats.once(14))[0] == pytest.approx(value, abs=1e-12)


def _counted(train, label, time):
    """Sum of the weights of a Brier score."""
    return sum(
        1 / _naive_censoring(train, min(t, time), before=t <= time)
        for event, t in label
        if event or t > time
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_the_weights_of_a_brier_score_add_up_to_the_series_whose_censoring_it_is(seed):
    """So that it is what others divide by the number of series."""
    label = _outcomes(np.random.default_rng(seed), 50).tolist()
    for time in (0.3, 1.0, 2.5):
        assert _counted(label, label, time) == pytest.approx(50, abs=1e-11)


def _censored(rng, count: int = 400):
    """Outcomes of whom seven of ten are censored before 1, and a model that knows a part."""
    known_N = 0.8 * rng.normal(size=count)
    time_N = rng.exponential(np.exp(-known_N - 0.5 * rng.normal(size=count)) / 0.7)
    until_N = np.minimum(rng.exponential(0.4, count), 3)
    label_N2 = np.stack([time_N <= until_N, np.minimum(time_N, until_N)], axis=1)
    clock = _clock(label_N2.astype(np.float32), horizons=(0.5, 1.0), grid=6)
    curve_NK = np.exp(-0.7 * np.exp(known_N)[:, None] * survival.times(clock))
    return clock, survival.stored(label_N2), np.column_stack([known_N, curve_NK])


def test_the_error_of_a_brier_score_is_the_spread_of_test_sets_however_many_are_censored():
    """Divided by the number of series, resamples had 1.5 and 1.3 times that spread."""
    rng, names = np.random.default_rng(0), ("brier_1", "ibs")
    value, error = [], []
    for run in range(200):
        clock, label_N2, output_NK = _censored(rng)
        weight_RN = stats.resample(np.arange(len(label_N2)), samples=200, seed=run)
        named = survival_metrics.metrics(clock)
        once, resampled = (
            [named[name](label_N2, output_NK, weight) for name in names]
            for weight in (stats.once(len(label_N2)), weight_RN)
        )
        low, high = np.percentile(resampled, intervals.MIDDLE, axis=1)
        value.append(np.ravel(once))
        error.append((high - low) / 2)
    ratio = np.mean(error, axis=0) / np.std(value, axis=0)
    assert (abs(ratio - 1) < 4 / np.sqrt(2 * 200)).all(), ratio


def test_resamples_in_which_all_are_censored_before_have_no_brier_score():
    label_N2 = np.array([[0, 0.5], [1, 0.6], [1, 2.0], [0, 3.0]])
    clock = _clock(label_N2, horizons=(1.0,))
    output_NK = np.full((4, 6), 0.5)
    weight_RN = np.array([[4, 0, 0, 0], [2, 1, 1, 0.0]])
    for name in ("brier_1", "ibs"):
        value_R = survival_metrics.metrics(clock)[name](label_N2, output_NK, weight_RN)
        assert np.isnan(value_R).tolist() == [True, False]


def test_concordance_and_kaplan_meier_equal_lifelines_also_with_ties():
    rng = np.random.default_rng(2)
    label_N2 = _outcomes(rng, 80)
    event_N, time_N = label_N2.T
    risk_N = np.round(rng.normal(size=80) - time_N, 0)
    one = stats.once(80)
    got = survival_metrics.c_index(label_N2, risk_N[:, None], one)[0]
    assert got == pytest.approx(concordance_index(time_N, -risk_N, event_N), abs=1e-12)
    curve, twin = survival.kaplan_meier(label_N2), KaplanMeierFitter().fit(time_N, event_N)
    times = np.linspace(0, time_N.max(), 50)
    assert np.allclose(survival.at(curve, times), twin.predict(times), atol=1e-12)
    later_N = time_N + 1e-9 * (1 - event_N)  # an event comes before a censoring at the same time
    twin = KaplanMeierFitter().fit(later_N, 1 - event_N)
    left_N = survival.at(survival.censoring(label_N2), times, before=True)
    assert np.allclose(left_N, twin.predict(times), atol=1e-12)


def test_without_censoring_they_are_the_metrics_of_a_binary_label():
    rng = np.random.default_rng(3)
    train_N2, label_N2 = _outcomes(rng, 40), _outcomes(rng, 50, decimals=6)
    train_N2[:, 0] = label_N2[:, 0] = 1
    clock = _clock(label_N2, train_N2)
    output_NK = _outputs(rng, label_N2, len(survival.times(clock)))
    weight_RN = rng.integers(0, 3, size=(3, 50)).astype(float)
    named = survival_metrics.metrics(clock)
    for r, weight_N in enumerate(weight_RN):
        for k, horizon in enumerate(HORIZONS):
            free_N, own_N = label_N2[:, 1] > horizon, output_NK[:, 1 + k]
            rank_N = own_N - 1e-6 * output_NK[:, 0]  # of equal curves the risk decides
            auc, brier = (
                named[f"{name}_{horizon:g}"](label_N2, output_NK, weight_RN)[r]
                for name in ("auc", "brier")
            )
            assert auc == pytest.approx(sk.roc_auc_score(free_N, rank_N, sample_weight=weight_N))
            squared = sk.brier_score_loss(free_N, own_N, sample_weight=weight_N)
            assert brier == pytest.approx(squared)


@pytest.mark.parametrize("shift", [-60, -37, 0, 8])
def test_curves_that_are_exactly_0_or_1_rank_as_their_risk_does(shift):
    """S(1) of a Cox model is 1 from a log hazard of -37 on and 0 above 7; its risk never ties."""
    rng = np.random.default_rng(7)
    risk_N = rng.normal(size=120)
    label_N2 = _outcomes(rng, 120, decimals=6)
    label_N2[:, 1] *= np.exp(-risk_N)
    clock, one = _clock(label_N2, horizons=(1.0,)), stats.once(120)
    auc = survival_metrics.metrics(clock)["auc_1"]
    baseline = cox.baseline(label_N2, risk_N)
    middle, far = (cox.predict(baseline, risk_N + s, survival.times(clock)) for s in (0, shift))
    assert auc(label_N2, far, one)[0] == auc(label_N2, middle, one)[0] > 0.6


def test_hazards_of_almost_nothing_do_not_tie():
    """Proportional, so that ranks at the horizon are those of the risk."""
    rng = np.random.default_rng(8)
    label_N2, logit_N = _outcomes(rng, 120, decimals=6), rng.normal(size=120)
    logit_N -= label_N2[:, 1]
    clock, one = _clock(label_N2, horizons=(1.0,)), stats.once(120)
    named, edge_B = survival_metrics.metrics(clock), np.array([0.5, 1.0])
    for name in ("auc_1", "c_index"):
        near, far = (
            named[name](label_N2, hazard.predict(edge_B, output_NB, clock), one)[0]
            for output_NB in (logit_N[:, None] + np.array([[s, s]]) for s in (-3, -60))
        )
        assert far == near > 0.7


@pytest.mark.parametrize("column", [0, 1])
def test_a_curve_or_a_risk_that_is_no_number_has_no_rank(column):
    rng = np.random.default_rng(9)
    label_N2 = _outcomes(rng, 60)
    clock = _clock(label_N2)
    output_NK = _outputs(rng, label_N2, len(survival.times(clock)))
    output_NK[3, column] = np.nan
    named = survival_metrics.metrics(clock)
    for name in ("auc_1", "brier_1" if column else "c_index"):
        assert np.isnan(named[name](label_N2, output_NK, np.ones((2, 60)))).all(), name


def test_weights_undo_the_censoring_that_harrells_index_depends_on():
    """Early events are predicted, late ones are not; censoring hides the late ones."""
    rng = np.random.default_rng(4)
    time_N, until_N = rng.exponential(1.5, 4000), rng.exponential(1.0, 4000)
    risk_N1 = (rng.normal(size=4000) - 3 * np.minimum(time_N, 0.7))[:, None]
    whole_N2 = np.stack([np.ones(4000), time_N], axis=1)
    label_N2 = np.stack([time_N <= until_N, np.minimum(time_N, until_N)], axis=1).astype(float)
    one, clock = stats.once(4000), _clock(label_N2, label_N2, horizons=(3.0,))
    uncensored = _clock(whole_N2, whole_N2, horizons=(3.0,))
    truth = survival_metrics.c_index_ipcw(whole_N2, risk_N1, one, clock=uncensored)[0]
    harrell = survival_metrics.c_index(label_N2, risk_N1, one)[0]
    uno = survival_metrics.c_index_ipcw(label_N2, risk_N1, one, clock=clock)[0]
    assert harrell - truth > 0.02 and abs(uno - truth) < 0.01


def test_resamples_without_a_pair_are_not_defined():
    label_N2 = np.array([[1, 1.0], [0, 2.0], [1, 3.0], [0, 4.0]])
    clock = _clock(label_N2, label_N2)
    output_NK = _outputs(np.random.default_rng(0), label_N2, len(survival.times(clock)))
    weight_RN = np.array([[0, 4, 0, 0], [4, 0, 0, 0], [1, 1, 1, 1.0]])
    for name in ("c_index", "c_index_ipcw", "auc_1"):
        value_R = survival_metrics.metrics(clock)[name](label_N2, output_NK, weight_RN)
        assert np.isnan(value_R).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"horizons": (1.0, 6.5)}, ["survival.horizons holds 6.5", "6.2 years", "6.19"]),
        ({"horizons": (0.1,)}, ["survival.horizons holds 0.1", "first event", "is 0.5"]),
        ({"tau": 7.0}, ["survival.tau holds 7", "6.19"]),
    ],
)
def test_a_horizon_that_cannot_be_judged_is_refused_with_one_that_can(changes, words):
    test_N2 = np.array([[1, 0.5], [0, 3.0], [1, 6.2]])
    with pytest.raises(UserError) as error:
        _clock(test_N2, **changes)
    assert all(word in str(error.value) for word in words)
    named = float(str(error.value).rstrip(".").rsplit(" ", 1)[1])
    _clock(test_N2, **{key: named if key == "tau" else (named,) for key in changes})


@pytest.mark.parametrize("horizon", [1.1, 1.2, 1.3, 1.4, 1.6, 1.7])
def test_an_event_at_the_horizon_comes_by_then_in_whatever_way_it_rounds(horizon):
    """Outcomes are float32: 1.1 rounds up and 1.3 down."""
    time_N = np.repeat([0.5, horizon, horizon + 1], [10, 20, 10])
    label_N2 = np.stack([np.repeat([1, 0], [30, 10]), time_N], axis=1).astype(np.float32)
    clock = _clock(label_N2, horizons=(horizon,))
    by_N, free_N = survival_metrics.needs(label_N2, clock)[f"brier_{horizon}"].values()
    assert (by_N.sum(), free_N.sum()) == (30, 10)
    named, half_NK = survival_metrics.metrics(clock), np.full((40, 6), 0.9)
    found = named[f"brier_{horizon}"](label_N2, half_NK, stats.once(40))
    assert found[0] == pytest.approx((30 * 0.9**2 + 10 * 0.1**2) / 40)
    curve = cox.baseline(label_N2, np.zeros(40))
    survived = cox.predict(curve, np.zeros(1), survival.times(clock))[0, 1]
    assert survived == pytest.approx(0.25, abs=0.01)  # 0.75 without those at the horizon
    old = clock._replace(horizon_H=np.array([horizon]), tau=horizon)
    assert survival.same(survival.from_arrays(survival.to_arrays(old)), clock)
    words = f"survival.horizons holds {horizon}, .* reach to {horizon} years"
    with pytest.raises(UserError, match=words):
        _clock(label_N2[:30], horizons=(horizon,))


def test_a_horizon_that_nobody_was_seen_beyond_is_refused():
    """Nobody was under observation for longer than 4: no weight stands for those who are free."""
    test_N2 = np.array([[1, 0.5], [0, 4.0], [0, 4.0]])
    with pytest.raises(UserError, match=r"largest usable value is 3\.99"):
        _clock(test_N2, horizons=(5.0,))


def test_patients_who_are_followed_longer_than_those_of_training_are_weighted_as_they_are():
    """Two hospitals: one loses its patients early, the other follows all of them to the end."""
    rng = np.random.default_rng(6)
    place = dict(zip(SPLITS, np.split(np.arange(900), 3), strict=True))
    time_N, until_N = rng.exponential(2, 900), rng.exponential(1.5, 900)
    until_N[place["test"]] = 9.0
    label_N2 = np.stack([time_N <= until_N, np.minimum(time_N, until_N)], axis=1).astype(np.float32)
    store = SimpleNamespace(split=place.get, series=range(900), columns={"event": "death"})
    store.outcomes, store.time_unit = lambda: label_N2, "years"
    (task,) = tasks.load_survival(store, horizons=(1.0, 2.0), tau=0.0, grid=4)
    label_N2 = label_N2[place["test"]]
    share = np.mean(label_N2[:, 1] > 2)
    constant_NK = np.tile(np.r_[0.0, share, share], (len(label_N2), 1))
    found = survival_metrics.brier(
        label_N2, constant_NK, stats.once(len(label_N2)), clock=task.clock, time=2.0, column=2
    )
    assert found[0] == pytest.approx(share * (1 - share))  # of the training's weights: twice that


def test_a_clock_survives_the_file_of_predictions():
    rng = np.random.default_rng(5)
    clock = _clock(_outcomes(rng, 30), _outcomes(rng, 30))
    again = survival.from_arrays(survival.to_arrays(clock))
    assert survival.same(clock, again) and survival.same(None, survival.from_arrays({}))
    assert not survival.same(clock, clock._replace(tau=1.0)) and not survival.same(clock, None)
