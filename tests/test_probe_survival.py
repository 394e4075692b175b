"""Cox and discrete-time hazard probes against other libraries, and time to an event as a task."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from problems import assert_each_is_fitted_once, problem_of, thirds
from sklearn.linear_model import LogisticRegression

from configs import probe_base
from tests import probe_network, probed, tiny
from tvrl_jax import prober
from tvrl_jax.data import opening
from tvrl_jax.errors import UserError
from tvrl_jax.probing import (
    constant,
    cox,
    hazard,
    paired,
    problem,
    rows,
    sampling,
    survival,
    tasks,
)
from tvrl_jax.results import ALL, FEW

STRENGTHS = (0.1, 10.0, 1000.0)
HORIZONS = (1.0, 2.0)


def _cohort(count=180, width=5, seed=0, decimals=1):
    """Features in odd units, hazards that depend on them, censoring, ties; consecutive thirds."""
    rng = np.random.default_rng(seed)
    feature_ND = rng.normal(size=(count, width)).astype(np.float32)
    rate_N = np.exp(feature_ND @ rng.normal(size=width))
    time_N, until_N = rng.exponential(1.5 / rate_N), rng.uniform(0.5, 5, count)
    seen_N = np.round(np.minimum(time_N, until_N), decimals)
    value_N2 = np.stack([time_N <= until_N, seen_N], axis=1).astype(np.float32)
    series = thirds(count)
    settings = dict(horizons=HORIZONS, tau=0.0, grid=5, column="death", unit="years")
    clock = survival.make_clock(value_N2[series["test"]], **settings)
    odd_ND = 10 + feature_ND * np.logspace(-2, 2, width, dtype=np.float32)
    feature = {s: odd_ND[index] for s, index in series.items()}
    return feature, tasks.Task("death", "survival", (), value_N2, clock), series


def _standardised(feature, used_N):
    used_ND = feature["train"][used_N].astype(np.float64)
    return {s: (value - used_ND.mean(0)) / used_ND.std(0) for s, value in feature.items()}


def _naive_efron(risk, event, time):
    """-log partial likelihood, a loop over event times and the ties at each."""
    total = 0.0
    for t in sorted({t for e, t in zip(event, time, strict=True) if e}):
        tied = [r for r, e, own in zip(risk, event, time, strict=True) if e and own == t]
        there = sum(np.exp(r) for r, own in zip(risk, time, strict=True) if own >= t)
        for k, r in enumerate(tied):
            total += np.log(there - k / len(tied) * sum(map(np.exp, tied))) - r
    return total


def test_the_partial_likelihood_is_efrons_and_rows_outside_the_draw_do_not_count():
    rng = np.random.default_rng(0)
    outcome_N2 = np.stack([rng.random(40) < 0.6, np.round(rng.exponential(1, 40), 1)], axis=1)
    used_N, risk_N = rng.random(40) < 0.7, rng.normal(size=40)
    got = cox.loss(jnp.asarray(risk_N), cox.ties(outcome_N2, used_N.astype(float)))
    expected = _naive_efron(risk_N[used_N], *outcome_N2[used_N].T)
    assert got == pytest.approx(expected, rel=1e-5)
    extreme_N = jnp.asarray(np.where(used_N, 300 * risk_N, 1e4), jnp.float32)
    own = cox.ties(outcome_N2, used_N.astype(float))
    value, slope_N = jax.value_and_grad(cox.loss)(extreme_N, own)
    assert np.isfinite(value) and np.isfinite(slope_N).all() and not slope_N[~used_N].any()


def test_where_all_risks_are_equal_the_gradient_is_that_of_differences():
    """Every fit starts there: a kink would send the first step of a strong penalty astray."""
    rng = np.random.default_rng(1)
    outcome_N2 = np.stack([rng.random(30) < 0.6, np.round(rng.exponential(1, 30), 1)], axis=1)
    used_N = rng.random(30) < 0.7
    at = cox.ties(outcome_N2, used_N.astype(float))
    slope_N = jax.grad(cox.loss)(jnp.zeros(30), at)
    step = 1e-4
    for n in range(30):
        low, high = (
            _naive_efron((s * np.eye(30)[n])[used_N], *outcome_N2[used_N].T) for s in (-step, step)
        )
        assert slope_N[n] == pytest.approx((high - low) / 2 / step, abs=1e-4), n


def test_the_strongest_penalties_rank_the_patients_alike():
    """All of them follow the gradient where all risks are equal; one step of Newton's is enough."""
    feature, task, series = _cohort(decimals=4)
    strong, stronger = (
        cox.fit(feature, problem_of(task, series, (0.5, 1.0)), strengths=(s,)) for s in (1e5, 1e9)
    )
    for a, b in zip(strong, stronger, strict=True):
        assert np.corrcoef(a.test_NK[:, 0], b.test_NK[:, 0])[0, 1] > 0.999


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Starting with pandas")
def test_cox_equals_lifelines_in_hazards_and_curves():
    """lifelines divides the likelihood by n, and standardises with n - 1."""
    feature, task, series = _cohort(decimals=4)
    strength = 5.0
    for p in cox.fit(feature, problem_of(task, series, (0.5, 1.0)), strengths=(strength,)):
        own, used_N = _standardised(feature, p.draw.used_N), p.draw.used_N
        table = pd.DataFrame(own["train"][used_N]).rename(columns=str)
        table[["event", "time"]] = task.value_N[series["train"]][used_N]
        n = len(table)
        twin = CoxPHFitter(penalizer=strength * (n - 1) / n**2)
        twin.fit(table, "time", "event", fit_options={"precision": 1e-9})
        test = pd.DataFrame(own["test"]).rename(columns=str)
        risk_N = twin.predict_log_partial_hazard(test).to_numpy()
        got_N = p.test_NK[:, 0]
        assert np.allclose(got_N - got_N.mean(), risk_N - risk_N.mean(), atol=5e-3)
        times = survival.times(task.clock)
        # lifelines interpolates between event times, so it is asked at the last one before each
        known = twin.baseline_survival_.index.to_numpy()
        asked = known[np.searchsorted(known, times, side="right") - 1]
        curve_NK = twin.predict_survival_function(test, times=asked).to_numpy().T
        assert np.allclose(p.test_NK[:, 1:], curve_NK, atol=5e-3)


def _naive_baseline(risk, event, time) -> dict:
    """Event time -> cumulative hazard: the ties leave one after the other, each a share of all."""
    total, found = 0.0, {}
    for t in sorted({t for e, t in zip(event, time, strict=True) if e}):
        tied = [r for r, e, own in zip(risk, event, time, strict=True) if e and own == t]
        there = sum(np.exp(r) for r, own in zip(risk, time, strict=True) if own >= t)
        for k in range(len(tied)):
            total += 1 / (there - k / len(tied) * sum(map(np.exp, tied)))
        found[t] = total
    return found


@pytest.mark.parametrize("decimals", [0, 4])
def test_the_baseline_is_efrons_as_the_likelihood_is(decimals):
    rng = np.random.default_rng(0)
    risk_N, event_N = 3 * rng.normal(size=120), rng.random(120) < 0.7
    time_N = np.round(rng.exponential(3, 120), decimals)
    curve = cox.baseline(np.stack([event_N, time_N], 1), risk_N)
    slow = _naive_baseline(risk_N, event_N, time_N)
    assert list(curve.time_C) == list(slow)
    np.testing.assert_allclose(np.exp(curve.value_C), list(slow.values()), rtol=1e-9)
    far = cox.baseline(np.stack([event_N, time_N], 1), risk_N + 900)  # exp() would overflow
    np.testing.assert_allclose(far.value_C, curve.value_C - 900, rtol=1e-9)


def test_where_visits_tie_the_events_the_curve_is_kaplan_meiers():
    """A third and more have the event at each visit; Breslow's would be .05 to .08 too high."""
    rng = np.random.default_rng(0)
    visit_N = np.minimum(rng.geometric(0.26, 3000), rng.integers(1, 6, 3000)).astype(float)
    event_N = rng.random(3000) < 0.8
    outcome_N2 = np.stack([event_N, visit_N], 1)
    curve = cox.baseline(outcome_N2, np.zeros(3000))
    wanted = survival.at(survival.kaplan_meier(outcome_N2), curve.time_C)
    np.testing.assert_allclose(np.exp(-np.exp(curve.value_C)), wanted, atol=2e-3)


def _sklearn_hazard(feature, task, series, draw, edge_B, strength):
    """Interval by interval, one logistic regression of who was seen in it, and for how long."""
    own, used_N = _standardised(feature, draw.used_N), draw.used_N
    x_ND, (event_N, time_N) = own["train"][used_N], task.value_N[series["train"]][used_N].T
    start, columns = -1e-9, []  # an event at 0 falls into the first interval
    for end in edge_B:
        hit_N = (event_N == 1) & (time_N > start) & (time_N <= end)
        share_N = np.where(hit_N, 1, np.clip((time_N - start) / (end - start), 0, 1))
        model = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10000)
        model.fit(x_ND, hit_N, sample_weight=share_N)
        columns.append(model.predict_proba(own["test"])[:, 1])
        start = end
    return np.column_stack(columns)


def test_hazards_equal_one_logistic_regression_per_interval():
    feature, task, series = _cohort()
    strength, bins = 2.0, 3
    for p in hazard.fit(
        feature, problem_of(task, series, (0.5, 1.0)), strengths=(strength,), bins=bins
    ):
        edge_B = hazard.edges(task.value_N[series["train"]][p.draw.used_N], bins)
        hazard_NB = _sklearn_hazard(feature, task, series, p.draw, edge_B, strength)
        for k, time in enumerate(survival.times(task.clock)):
            left_N, start = np.ones(len(hazard_NB)), 0.0
            for b, end in enumerate(edge_B):
                part = np.clip((time - start) / (end - start), 0, 1)
                left_N, start = left_N * (1 - hazard_NB[:, b]) ** part, end
            assert np.abs(p.test_NK[:, 1 + k] - left_N).max() < 5e-3
        lost_N = 1 - p.test_NK[:, 3:].mean(1)
        assert np.allclose(p.test_NK[:, 0], np.log(lost_N / (1 - lost_N)), atol=1e-4)


def test_a_hazards_risk_tells_apart_the_surest_of_series():
    """S(t) of 1e-40 and 1e-30 at all times, of 1 - 1e-20 and 1 - 1e-30, and of one half."""
    log_N = np.array([*(np.log(10) * np.array([-40, -30])), np.log(0.5), -1e-20, -1e-30])
    risk_N = hazard.risk(np.repeat(log_N[:, None], 7, axis=1))
    assert np.all(np.diff(risk_N) < 0) and risk_N[2] == pytest.approx(0)
    assert np.all(np.isfinite(hazard.risk(np.zeros((1, 7)))))


def test_without_signal_the_hazards_are_kaplan_meiers_however_many_are_censored():
    """Who is censored within an interval was at risk until then; without them S(5) is 0.56."""
    rng, series = np.random.default_rng(0), thirds(6000)
    time_N, until_N = rng.exponential(10, 6000), np.minimum(rng.exponential(2.5, 6000), 8)
    outcome_N2 = np.stack([time_N <= until_N, np.minimum(time_N, until_N)], axis=1)
    value_N2 = outcome_N2.astype(np.float32)
    settings = dict(horizons=(1.0, 3.0, 5.0), tau=0.0, grid=5, column="death", unit="years")
    clock = survival.make_clock(value_N2[series["test"]], **settings)
    task = tasks.Task("death", "survival", (), value_N2, clock)
    feature = {s: rng.normal(size=(len(index), 2)) for s, index in series.items()}
    (got,) = hazard.fit(feature, problem_of(task, series, (1.0,), 1), strengths=(1e6,), bins=10)
    curve = survival.kaplan_meier(value_N2[series["train"]])
    assert np.allclose(got.test_NK[:, 1:4], survival.at(curve, clock.horizon_H), atol=0.01)


def test_intervals_end_at_events_share_them_evenly_and_everybody_counts_until_last_seen():
    rng = np.random.default_rng(1)
    outcome_N2 = np.stack([rng.random(300) < 0.5, np.round(rng.exponential(2, 300), 2)], axis=1)
    edge_B = hazard.edges(outcome_N2, 10)
    seen = hazard.table(outcome_N2, np.ones(300), edge_B)
    event_N, time_N = outcome_N2.T
    assert (seen.hit_NB.sum(1) == event_N).all() and np.isin(edge_B, time_N[event_N == 1]).all()
    assert np.abs(seen.hit_NB.sum(0) - event_N.sum() / 10).max() <= 3
    before_N = np.searchsorted(edge_B, time_N)
    share_N = np.interp(time_N, np.append(0, edge_B), np.arange(11))  # of ten intervals
    until_N = np.where(event_N == 1, before_N + 1, share_N)
    assert np.allclose(seen.seen_NB.sum(1), until_N, atol=1e-6)
    few_B = hazard.edges(outcome_N2[event_N == 1][:2], 10)
    assert np.isfinite(few_B).sum() == 2
    assert not hazard.table(outcome_N2, np.ones(300), few_B).seen_NB[:, 2:].any()


FITS = {"cox": (cox.fit, {}), "hazard": (hazard.fit, {"bins": 4})}


@pytest.mark.parametrize("kind", FITS)
def test_survival_probes_learn_choose_by_validation_and_see_their_draw_alone(kind):
    feature, task, series = _cohort(count=300)
    fit, settings = FITS[kind]
    fitted = fit(feature, problem_of(task, series, (0.5, 1.0)), strengths=STRENGTHS, **settings)
    test = (series["test"], series["test"])
    scores = rows.evaluate(fitted, *test, samples=50, seed=0)
    best = {s.metric: s.interval.value for s in scores if s.seed == ALL and s.fraction == 1}
    ignorant = constant.fit(problem_of(task, series, (0.5, 1.0)), len(series["test"]))
    others = rows.evaluate(ignorant, *test, samples=50, seed=0)
    base = {s.metric: s.interval.value for s in others if s.seed == ALL and s.fraction == 1}
    assert best["c_index"] > 0.7 and best["auc_1"] > 0.75 and best["ibs"] < 0.8 * base["ibs"]
    assert base["c_index"] == base["auc_1"] == 0.5
    for p in fitted:
        curve_NK = p.test_NK[:, 3:]
        assert (np.diff(curve_NK, axis=1) <= 1e-6).all() and (curve_NK >= 0).all()
    alone = [
        fit(feature, problem_of(task, series, (0.5,), 1), strengths=(s,), **settings)[0]
        for s in STRENGTHS
    ]
    chosen = min(alone, key=lambda p: p.choice["loss"])
    assert chosen.choice["strength"] == fitted[0].choice["strength"]
    value_N2, outside_N = task.value_N.copy(), series["train"][~fitted[0].draw.used_N]
    value_N2[outside_N] = value_N2[outside_N][::-1]
    value_N2[series["test"], 1] += 1
    draw = fitted[0].draw._replace(task=task._replace(value_N=value_N2))
    changed = fit(feature, problem.group([draw], series)[0], strengths=STRENGTHS, **settings)[0]
    assert np.allclose(changed.test_NK, fitted[0].test_NK, atol=1e-4)


def test_the_constant_predictor_has_the_curve_of_the_training_rows_in_use():
    _, task, series = _cohort()
    for p in constant.fit(problem_of(task, series, (0.5, 1.0)), 3):
        curve = survival.kaplan_meier(task.value_N[series["train"]][p.draw.used_N])
        expected = survival.at(curve, survival.times(task.clock))
        assert np.allclose(p.test_NK, np.append(0, expected))


def test_patients_with_an_event_are_drawn_apart_and_two_must_be_left():
    value_N2 = np.stack([np.arange(200) % 8 == 0, np.arange(200)], axis=1).astype(np.float32)
    value_N2[-20:] = np.nan
    task, patient_N = tasks.Task("death", "survival", (), value_N2), np.arange(200) // 2
    assert tasks.missing(task) == 20
    every = np.arange(200)
    half, less = (sampling.draw(task, every, patient_N, fraction=f, seed=0) for f in (0.5, 0.1))
    assert (less <= half).all() and not half[-20:].any()
    # 23 of 90 patients have an event in one of two series
    assert value_N2[less, 0].sum() == 2 and less.sum() == 2 * (2 + 7)
    with pytest.raises(UserError, match="leaves 1 of 23 training patients with an event") as error:
        sampling.draw(task, every, patient_N, fraction=0.03, seed=0)
    assert "smallest usable fraction is 0.0653" in str(error.value)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Larger discs have their event sooner; some are censored, one of training is unknown."""
    folder = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(folder, subjects=80)
    table = pd.read_csv(folder / "cohort.csv")
    rng = np.random.default_rng(0)
    time_R, until_R = 60 / table.radius**2 * rng.exponential(1, 80), rng.uniform(0.5, 6, 80)
    table["dead"] = (time_R <= until_R).astype(int).astype(str)
    table["after"] = np.minimum(time_R, until_R).round(2).astype(str)
    table.loc[1, ["dead", "after"]] = ""
    table.to_csv(folder / "cohort.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def encoder(root):
    return probe_network.encoder(root)


@pytest.fixture
def config(tmp_path):
    c = probe_base.get_config()
    c.kind, c.fractions, c.seeds = "cox", (0.5, 1.0), 2
    columns = {"data.columns.event": "dead", "data.columns.duration": "after"}
    sizes = {"features.batch_size": 32, "features.settle_batches": 3, "bootstrap.samples": 40}
    folder = {"features.cache": str(tmp_path / "cache"), "survival.horizons": (0.5, 1.5)}
    c.update_from_flattened_dict(columns | sizes | folder)
    return c


def _store(encoder, config):
    """As probe.py opens it: what the probe names goes before what pretraining named."""
    return opening.open_cohort(prober.merge_data(encoder.config.data, config.data))


@pytest.mark.parametrize("kind", ["cox", "hazard"])
def test_the_suite_answers_when_and_its_file_can_be_compared_with(encoder, config, tmp_path, kind):
    config.kind = kind
    results = probed.run(encoder, _store(encoder, config), config, tmp_path, lambda line: None)
    table = pd.DataFrame(results.rows)
    assert set(table.task) == {"dead"} and set(table.probe) == {kind}
    single = table[~table.method.str.contains(" - ")]
    names = "c_index c_index_ipcw auc_0.5 auc_1.5 brier_0.5 brier_1.5 ibs".split()
    counts = {f"patients_of_{name}" for name in names if name != "c_index"}
    assert set(single.metric) == {*names, "patients_per_class", *counts}
    assert np.isfinite(single.value).all() and (single.n == 20).all()
    assert any("1 of 80 series have no value" in note for note in results.notes)
    measured = paired.load(tmp_path, kind)
    again = paired.scores(measured, **config.bootstrap)
    found = {(s.metric, s.fraction, s.seed): s.interval.value for s in again}
    for row in single[(single.method == "tvrl") & (single.metric.isin(names))].itertuples():
        assert row.value == pytest.approx(found[row.metric, row.fraction, row.seed], abs=1e-5)
    task = measured.tasks["dead"]
    other = task._replace(clock=task.clock._replace(tau=1.0))
    with pytest.raises(UserError, match="survival.horizons"):
        paired.aligned(measured, measured._replace(tasks={"dead": other}))


def _refused(encoder, config, *words):
    said = []
    with pytest.raises(UserError) as error:
        probed.run(encoder, _store(encoder, config), config, "/nowhere", said.append)
    assert all(word in str(error.value) for word in words), error.value
    assert not said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"survival.horizons": (0.5, 90.0)}, ["holds 90", "largest usable value"]),
        ({"survival.horizons": ()}, ["survival.horizons", "one or more"]),
        (
            {"survival.horizons": (31536000.0, 31536010.0)},
            ["holds 31536000.0 and 31536010.0", "both be called auc_3.1536e+07", "six digits"],
        ),
        ({"fractions": (0.01,)}, ["training patients with an event", "smallest usable fraction"]),
        ({"cox.strengths": (0.0,)}, ["cox.strengths"]),
        ({"hazard.bins": 0}, ["hazard.bins"]),
    ],
)
def test_settings_that_cannot_be_met_are_refused_before_any_feature(
    encoder, config, changes, words
):
    config.update_from_flattened_dict(changes)
    _refused(encoder, config, *words)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (([1, 1, 0], [0, 0, 0]), "first event .* at 0 .* reach to 0 years"),
        (([1, 0, 1], [4, 4, 4]), "first event .* at 4 .* reach to 4 years"),
    ],
)
def test_where_no_horizon_is_usable_no_number_is_named(test, words):
    settings = dict(tau=0.0, grid=3, column="dead", unit="years")
    with pytest.raises(UserError, match=f"^No value of survival.horizons is usable: .*{words}"):
        survival.make_clock(np.array(test, float).T, horizons=(1.0,), **settings)


@pytest.mark.parametrize("first", [0.0, 1e-12, 0.5, 3.4, 3.9995, 3.9999999])
@pytest.mark.parametrize("asked", [1e-13, 1.0, 3.9996, 100.0])
def test_the_horizon_that_is_named_is_usable(first, asked):
    outcome_N2 = survival.stored([[1, first], [0, 4.0], [1, 3.9999998], [0, 4.0]])
    made = functools.partial(survival.make_clock, outcome_N2, tau=0.0, grid=3)
    names = dict(column="dead", unit="years")
    first, end = (float(time) for time in np.sort(outcome_N2[:, 1])[[0, -1]])
    try:
        made(horizons=(asked,), **names)
    except UserError as error:
        named = float(str(error).removesuffix(".").split()[-1])
        assert first <= survival.stored(named) < end, error
        assert made(horizons=(named,), **names).horizon_H == [np.float32(named)]


def test_a_horizon_that_few_patients_reach_is_flagged():
    """The counts are those of a loop over patients with two series each."""
    _, task, series = _cohort(count=180)
    late_N2 = task.value_N[series["test"]].copy()
    clock = task.clock._replace(horizon_H=np.array([1.0, 2.0, 4.0]), tau=4.0)
    output_NK = np.random.default_rng(0).random((60, 9))
    draw = sampling.Draw(task._replace(value_N=late_N2, clock=clock), 1.0, 0, np.ones(3, bool))
    patient_N = np.arange(60) // 2
    made = [problem.Prediction(draw, output_NK, {})]
    scores = rows.evaluate(made, np.arange(60), patient_N, samples=20, seed=0)
    names = dict(method="a", cohort="", probe="cox")
    found = {row["metric"]: row["value"] for row in rows.count_rows(scores, **names)}
    pairs = list(zip(patient_N, late_N2, strict=True))
    for horizon in clock.horizon_H:
        by = {p for p, (event, time) in pairs if event and time <= horizon}
        beyond = {p for p, (_, time) in pairs if time > horizon}
        for metric in ("auc", "brier"):
            count = found[f"patients_of_{metric}_{horizon:g}"]
            assert count == min(len(by), len(beyond)), horizon
    assert found["patients_of_ibs"] == found["patients_of_c_index_ipcw"] >= FEW
    assert found["patients_of_auc_4"] < FEW <= found["patients_of_auc_1"]
    told = {row["metric"] for row in rows.differences(scores, scores, **names)}
    assert {"auc_1_p", "auc_2_p", "c_index_p", "ibs_p"} <= told
    assert not {"auc_4_p", "brier_4_p"} & told and {"auc_4", "brier_4"} <= told
    (line,) = [w for w in rows.warnings(scores, np.arange(60), patient_N) if "after 4" in w]
    assert (
        "test patients seen free of the event after 4" in line and "auc_4 and brier_4 say" in line
    )


def test_a_tau_before_the_first_event_would_leave_no_pair_to_compare():
    test_N2 = np.array([[1, 1.0], [0, 5.0], [1, 2.0]])
    made = functools.partial(
        survival.make_clock,
        test_N2,
        horizons=(1.5,),
        grid=4,
        column="dead",
        unit="years",
    )
    assert made(tau=1.2).tau == np.float32(1.2) and made(tau=0).tau == 1.5
    with pytest.raises(UserError, match='tau = 1, .*"dead".* comes at 1 years.* greater, or 0'):
        made(tau=1.0)


def test_a_cohort_without_outcomes_is_told_which_columns_to_map(encoder, config):
    config.data.columns.event = config.data.columns.duration = ""
    _refused(encoder, config, "data.columns.event", "data.columns.duration")


@pytest.mark.parametrize(
    ("dead", "after", "words"),
    [
        ("2", "1.5", ["event is 2", "row 2"]),
        ("1", "-0.5", ["duration is -0.5", "row 2"]),
        ("1", "", ["row 2", "fill in both or neither"]),
        ("1", "soon", ['"soon" is not a number', "row 2"]),
    ],
)
def test_an_impossible_outcome_is_refused_by_its_row(root, encoder, config, dead, after, words):
    table = pd.read_csv(root / "cohort.csv", dtype=str, keep_default_na=False)
    table.loc[0, ["dead", "after"]] = dead, after
    table.to_csv(root / "wrong.csv", index=False)
    config.data.csv = "wrong.csv"
    _refused(encoder, config, *words)


def test_other_kinds_do_not_see_the_time_to_an_event(encoder, config, tmp_path):
    config.kind, config.baselines = "knn", ()
    results = probed.run(encoder, _store(encoder, config), config, tmp_path, lambda line: None)
    assert {row["task"] for row in results.rows} == {"radius", "large"}


def test_too_few_events_in_a_split_are_named():
    _, task, series = _cohort()

    class Store:
        columns, time_unit = {"event": "death"}, "years"

        def outcomes(self):
            value_N2 = task.value_N.copy()
            value_N2[series["val"], 0] = 0
            return value_N2

        def split(self, name):
            return series[name]

    with pytest.raises(UserError, match='"death" tells of 0 events in the val split'):
        tasks.load_survival(Store(), horizons=HORIZONS, tau=0.0, grid=5)


@pytest.mark.parametrize(("module", "settings"), [(cox, {}), (hazard, {"bins": 4})])
def test_each_set_of_rows_is_fitted_once(monkeypatch, module, settings):
    settings = {"strengths": STRENGTHS, **settings}
    assert_each_is_fitted_once(module, monkeypatch, *_cohort(), **settings)
