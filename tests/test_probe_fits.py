"""Tasks, label fractions, the linear probe and nearest neighbours, on made-up features."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from problems import assert_each_is_fitted_once, problem_of, thirds
from sklearn.metrics import roc_auc_score

from tvrl_jax.errors import UserError
from tvrl_jax.probing import constant, heads, knn, linear, problem, rows, sampling, stats, tasks
from tvrl_jax.results import ALL

GRID = {"learning_rates": (0.01, 0.1), "weight_decays": (0.0, 0.1), "epochs": 60, "chunk": 0}


class FakeStore:
    """The part of a store that tasks ask for: the table as text, and the splits."""

    where = "cohort.csv"

    def __init__(self, columns: dict, splits: dict):
        self.text, self.splits = pd.DataFrame(columns).map(str).replace("nan", ""), splits

    def split(self, name):
        return np.asarray(self.splits[name])


def _store(**changes):
    columns = {"EF": np.linspace(30, 70, 12), "AF": ["no", "yes"] * 6} | changes
    return FakeStore(columns, {"train": range(4), "val": range(4, 8), "test": range(8, 12)})


def test_tasks_carry_values_codes_and_gaps():
    store = _store(EF=[np.nan, *range(11)])
    ef, af = tasks.load(store, ("EF:regression", "AF:classification"))
    assert tasks.missing(ef) == 1 and tasks.outputs(ef) == 1
    assert af.classes == ("no", "yes") and tasks.outputs(af) == 2
    assert af.value_N.tolist() == [0, 1] * 6
    assert tasks.scale(ef.value_N, np.arange(12) > 0) == (5.0, pytest.approx(np.sqrt(10)))


@pytest.mark.parametrize(
    ("changes", "spec", "words"),
    [
        ({}, "EFF:regression", ['"EFF"', 'Did you mean "EF"']),
        ({}, "EF", ["COLUMN:regression"]),
        ({}, "EF:ranking", ["COLUMN:regression"]),
        ({"AF": ["no", "yes"] * 4 + ["no"] * 4}, "AF:classification", ['"no"', "test"]),
        ({"EF": [1.0, 2, 3, 4] + [5.0] * 4 + [1.0, 2, 3, 4]}, "EF:regression", ['"5"', "val"]),
        ({"EF": [np.nan] * 4 + list(range(8))}, "EF:regression", ["empty", "train"]),
    ],
)
def test_a_useless_target_is_refused_in_words(changes, spec, words):
    with pytest.raises(UserError) as error:
        tasks.load(_store(**changes), (spec,))
    assert all(word in str(error.value) for word in words)


def test_targets_of_pretraining_may_be_taken_away():
    theirs = ("EF:regression",)
    assert tasks.asked((), theirs) == theirs and tasks.asked(("AF:classification",), ()) != theirs
    assert tasks.asked(("none",), theirs) == ()
    with pytest.raises(UserError, match="No targets"):
        tasks.load(_store(), tasks.asked(("none",), theirs))


def _class_task(code_N):
    return tasks.Task("AF", "classification", ("no", "yes"), np.asarray(code_N, np.float32))


def test_fractions_are_nested_stratified_by_patient_and_redrawn_per_seed():
    subject_N = np.repeat(np.arange(200), 3)
    task = _class_task(np.repeat(np.arange(200) % 4 == 0, 3))
    used = {
        (fraction, seed): sampling.draw(
            task, np.arange(600), subject_N, fraction=fraction, seed=seed
        )
        for fraction in (0.02, 0.1, 1.0)
        for seed in (0, 1)
    }
    for seed in (0, 1):
        assert (used[0.02, seed] <= used[0.1, seed]).all()
        assert used[1.0, seed].all()
        assert used[0.1, seed].sum() == 60
        assert used[0.1, seed][task.value_N == 1].sum() == 15
    by_patient = used[0.1, 0].reshape(200, 3)
    assert (by_patient == by_patient[:, :1]).all()
    assert (used[0.1, 0] != used[0.1, 1]).any()


def test_rows_without_a_label_are_never_drawn():
    value_N = np.arange(40, dtype=np.float32)
    value_N[::2] = np.nan
    task = tasks.Task("EF", "regression", (), value_N)
    used_N = sampling.draw(task, np.arange(40), np.arange(40), fraction=0.5, seed=0)
    assert used_N.sum() == 10 and not used_N[::2].any()


def test_a_fraction_that_leaves_no_patient_names_the_smallest_that_works():
    task = _class_task(np.arange(100) < 20)
    subject_N = np.arange(100)
    with pytest.raises(UserError, match=r'"yes".*smallest usable fraction is 0\.025') as error:
        sampling.draw(task, subject_N, subject_N, fraction=0.01, seed=0)
    named = float(str(error.value).split("fraction is ")[1].split(":")[0])
    assert '--config.fractions="(0.025,)"' in str(error.value)
    assert sampling.draw(task, subject_N, subject_N, fraction=named, seed=0).sum() == 1 + 2
    regression = tasks.Task("EF", "regression", (), np.arange(30, dtype=np.float32))
    with pytest.raises(UserError, match="smallest usable fraction is 0.05"):
        sampling.draw(regression, np.arange(30), np.arange(30), fraction=0.01, seed=0)
    with pytest.raises(UserError, match="lies in"):
        sampling.draw(regression, np.arange(30), np.arange(30), fraction=1.5, seed=0)


def _cohort(kind="regression", count=120, width=6, seed=0, classes=2):
    """Features in odd units, a linear target; train, val and test are consecutive thirds."""
    rng = np.random.default_rng(seed)
    feature_ND = rng.normal(size=(count, width)).astype(np.float32)
    signal_NK = feature_ND @ rng.normal(size=(width, classes))
    value_N = 60 + 8 * signal_NK[:, 0] if kind == "regression" else signal_NK.argmax(1)
    names = tuple("abcde"[:classes]) if kind == "classification" else ()
    task = tasks.Task("y", kind, names, value_N.astype(np.float32))
    odd_ND = 1000 + feature_ND * np.logspace(-2, 2, width, dtype=np.float32)
    series = thirds(count)
    return {s: odd_ND[index] for s, index in series.items()}, task, series


@pytest.mark.parametrize(
    ("kind", "classes"), [("regression", 2), ("classification", 2), ("classification", 4)]
)
def test_the_linear_probe_learns_what_is_linear(kind, classes):
    feature, task, series = _cohort(kind, classes=classes)
    fitted = linear.fit(feature, problem_of(task, series, (0.2, 1.0)), **GRID)
    scores = rows.evaluate(fitted, series["test"], series["test"], samples=50, seed=0)
    whole = [s for s in scores if s.fraction == 1.0 and s.seed == ALL]
    best = {s.metric: s.interval.value for s in whole}
    assert best.get("r2", 1) > 0.95 and best.get("auroc", 1) > 0.9
    assert {p.draw.seed for p in fitted} == {0, 1}


def test_all_fits_at_once_equal_one_at_a_time_and_any_chunk():
    feature, task, series = _cohort()
    together = linear.fit(feature, problem_of(task, series, (0.2, 1.0)), **GRID)
    chunked = linear.fit(feature, problem_of(task, series, (0.2, 1.0)), **GRID | {"chunk": 3})
    for a, b in zip(together, chunked, strict=True):
        assert np.allclose(a.test_NK, b.test_NK, rtol=1e-4)
    alone = problem_of(task, series, fractions=(0.2,), seeds=1)
    one = linear.fit(feature, alone, **GRID)[0]
    assert np.allclose(one.test_NK, together[0].test_NK, rtol=1e-4)


def test_rows_outside_the_draw_and_test_labels_do_not_matter():
    feature, task, series = _cohort()
    small = problem_of(task, series, fractions=(0.2,), seeds=1)
    before = linear.fit(feature, small, **GRID)[0].test_NK
    value_N = task.value_N.copy()
    value_N[series["train"][~small.draws[0].used_N]] += 50
    value_N[series["test"]] = -1
    draw = small.draws[0]._replace(task=task._replace(value_N=value_N))
    changed = problem.group([draw], series)[0]
    assert np.array_equal(linear.fit(feature, changed, **GRID)[0].test_NK, before)


@pytest.mark.parametrize("centre", [0, -16, 16])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_that_is_sure_is_ranked_by_its_margins(classes, centre):
    """In float32 the probabilities of such margins are equal, and their AUROC is that of a coin."""
    label_N = np.arange(40) % 2
    output_NK = np.full((40, classes), -40, np.float32)
    output_NK[:, 0], output_NK[:, 1] = 0, centre + 1e-5 * np.arange(40)
    probability_NK = heads.decode("classification", output_NK, 0, 1)
    assert np.allclose(probability_NK.sum(1), 1)
    (got,) = stats.auroc(label_N, probability_NK[:, :2], stats.once(40))
    assert got == pytest.approx(roc_auc_score(label_N, output_NK[:, 1]))


def test_the_head_is_chosen_by_validation():
    feature, task, series = _cohort()
    value_N = task.value_N.copy()
    value_N[series["val"]] = 60 - (value_N[series["val"]] - 60)  # validation says the opposite
    wrong = problem_of(task._replace(value_N=value_N), series, (1.0,), 1)
    right = problem_of(task, series, (1.0,), 1)
    fooled = linear.fit(feature, wrong, **GRID)[0]
    learnt = linear.fit(feature, right, **GRID)[0]
    assert fooled.choice["epoch"] < 10 < learnt.choice["epoch"]
    assert fooled.test_NK.std() < 0.2 * learnt.test_NK.std()


def test_weights_for_raw_features_equal_standardised_features():
    rng = np.random.default_rng(0)
    feature_ND, weight_N = jnp.asarray(rng.normal(size=(9, 3))), jnp.asarray([1.0] * 6 + [0] * 3)
    head = {"kernel": jnp.asarray(rng.normal(size=(3, 2))), "bias": jnp.ones(2)}
    mean_D, std_D = linear.moments(feature_ND, weight_N)
    used_ND = np.asarray(feature_ND)[:6]
    assert np.allclose(mean_D, used_ND.mean(0), atol=1e-6)
    assert np.allclose(std_D, used_ND.std(0), atol=1e-5)
    expected = heads.apply(head, (feature_ND - mean_D) / std_D)
    got = heads.apply(linear.unscale(head, mean_D, std_D), feature_ND)
    assert np.allclose(got, expected, atol=1e-5)


def _naive_neighbours(train_ND, label_NK, query_D, k, temperature):
    centre_D = train_ND.mean(0)
    a, b = query_D - centre_D, train_ND - centre_D
    cosine_N = b @ a / np.linalg.norm(b, axis=1) / np.linalg.norm(a)
    near = np.argsort(-cosine_N)[:k]
    weight = np.exp(cosine_N[near] / temperature)
    return weight @ label_NK[near] / weight.sum()


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_neighbours_equal_a_naive_loop(kind):
    feature, task, series = _cohort(kind, count=90)
    small = problem_of(task, series, fractions=(0.4,), seeds=1)
    for k in (1, 4, 500):
        got = knn.fit(feature, small, ks=(k,), temperature=0.1)[0]
        used_N = small.draws[0].used_N
        value_N = task.value_N[series["train"]][used_N]
        label_NK = value_N[:, None] if kind == "regression" else np.eye(2)[value_N.astype(int)]
        for i in range(5):
            expected = _naive_neighbours(
                feature["train"][used_N].astype(np.float64),
                label_NK,
                feature["test"][i].astype(np.float64),
                k,
                0.1,
            )
            assert np.allclose(got.test_NK[i], expected, rtol=1e-2, atol=1e-2)


def test_of_neighbours_that_are_equally_near_the_first_rows_count():
    feature, task, series = _cohort("regression", count=90)
    small = problem_of(task, series, fractions=(0.4,), seeds=1)
    alike = {split: np.ones_like(feature_ND) for split, feature_ND in feature.items()}
    value_N = task.value_N[series["train"]][small.draws[0].used_N]
    for k in (1, 4, 500):
        got = knn.fit(alike, small, ks=(k,), temperature=0.1)[0]
        assert np.allclose(got.test_NK, value_N[:k].mean(), rtol=1e-4)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_the_neighbours_of_each_set_of_rows_are_found_once(monkeypatch, kind):
    assert_each_is_fitted_once(knn, monkeypatch, *_cohort(kind), ks=(1, 3, 9), temperature=0.1)


def test_neighbours_that_agree_but_for_far_ones_are_ranked_by_these():
    """In float32 the shares above 1 - 1e-8 are 1, so that one class had ties and the other none."""
    _, task, series = _cohort("classification", count=90)
    rng = np.random.default_rng(0)
    made_ND = rng.normal(0, 0.3, (90, 4)).astype(np.float32)
    made_ND[:, 0] += np.where(task.value_N == 1, 2, -2)
    feature = {split: made_ND[own] for split, own in series.items()}
    fitted = knn.fit(feature, problem_of(task, series, (1.0,), 1), ks=(500,), temperature=0.08)
    output_NK = fitted[0].test_NK
    assert output_NK.dtype == np.float64 and np.allclose(output_NK.sum(1), 1, atol=1e-12)
    for of_class_N in output_NK.T:
        assert len(np.unique(of_class_N)) == len(output_NK)


def test_k_is_chosen_by_validation():
    feature, task, series = _cohort(count=300)
    noisy = task._replace(
        value_N=task.value_N + np.random.default_rng(1).normal(0, 20, 300).astype(np.float32)
    )
    fitted = knn.fit(feature, problem_of(noisy, series), ks=(1, 30), temperature=10.0)
    assert fitted[-1].choice["k"] == 30  # of all labels


def test_rows_hold_every_seed_their_mean_and_paired_differences():
    feature, task, series = _cohort()
    fitted = linear.fit(feature, problem_of(task, series, (0.2, 1.0)), **GRID)
    bad = [p._replace(test_NK=p.test_NK * 0 + 60) for p in fitted]
    good, poor = (
        rows.evaluate(p, series["test"], series["test"], samples=200, seed=0) for p in (fitted, bad)
    )
    table = pd.DataFrame(rows.rows(good, method="tvrl", cohort="c", probe="linear"))
    assert len(table) == 2 * 3 * 2  # fractions x (two seeds and their mean) x metrics
    assert (table.n == 40).all() and (table.ci_low <= table.ci_high).all()
    part = table[(table.fraction == 1.0) & (table.metric == "r2")].set_index("seed").value
    assert part["all"] == pytest.approx((part[0] + part[1]) / 2)
    gap = pd.DataFrame(rows.differences(good, poor, method="d", cohort="c", probe="linear"))
    whole = gap[gap.fraction == 1.0].set_index("metric")
    assert whole.ci_high["mae"] < 0 and whole.ci_low["r2"] > 0
    assert whole.value["r2_p"] < 0.02


def test_resamples_that_lack_one_of_three_classes_are_called_so():
    label_N = np.float32([0] * 20 + [1] * 18 + [2] * 2)
    task = tasks.Task("grade", "classification", ("a", "b", "c"), label_N)
    output_NK = np.random.default_rng(0).random((40, 3))
    draw = sampling.Draw(task, 1.0, 0, np.zeros(0, bool))
    made = problem.Prediction(draw, output_NK, {})
    every = np.arange(40)
    scores = rows.evaluate([made], every, every, samples=500, seed=0)
    notes = rows.warnings(scores, every, every)
    lost = np.sum(stats.resample(every, samples=500, seed=0)[:, 38:].sum(1) == 0)
    assert (
        f"grade: {lost} of 500 resamples lacked a class and are left out of the intervals." in notes
    )


def test_a_small_test_set_earns_a_warning():
    _, task, series = _cohort("classification", count=30)
    made = constant.fit(problem_of(task, series, (1.0,), 1), 10)
    scores = rows.evaluate(made, series["test"], series["test"], samples=50, seed=0)
    notes = rows.warnings(scores, series["test"], series["test"])
    assert any("test patients of class" in note for note in notes)


def test_a_class_that_no_test_patient_has_is_said_to_be_left_out_of_the_mean():
    label_N = np.float32([0] * 20 + [1] * 20)
    task = tasks.Task("grade", "classification", ("a", "b", "none"), label_N)
    output_NK = np.random.default_rng(0).random((40, 3))
    made = problem.Prediction(sampling.Draw(task, 1.0, 0, np.zeros(0, bool)), output_NK, {})
    every = np.arange(40)
    notes = rows.warnings(rows.evaluate([made], every, every, samples=50, seed=0), every, every)
    assert [note for note in notes if "none" in note] == [
        'grade: no test patient is of class "none", which does not enter the mean over the classes.'
    ]
