"""Ridge and logistic regression against scikit-learn, and what must not matter to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import assert_each_is_fitted_once, problem_of, thirds
from sklearn.linear_model import LogisticRegression, Ridge

from tvrl_jax.probing import heads, newton, problem, ridge, spectrum, tasks

STRENGTHS = tuple(10.0**k for k in range(-2, 4))


def _cohort(kind, classes=2, count=150, width=8, seed=0):
    """Features in odd units and a noisy linear target; the splits are consecutive thirds."""
    rng = np.random.default_rng(seed)
    feature_ND = rng.normal(size=(count, width)).astype(np.float32)
    feature_ND[:, -1] = feature_ND[:, 0] + 0.1 * feature_ND[:, -1]
    signal_NK = feature_ND @ rng.normal(size=(width, classes)) + rng.normal(size=(count, classes))
    value_N = 60 + 8 * signal_NK[:, 0] if kind == "regression" else signal_NK.argmax(1)
    names = tuple("abcde"[:classes]) if kind == "classification" else ()
    task = tasks.Task("y", kind, names, value_N.astype(np.float32))
    odd_ND = 10 + feature_ND * np.logspace(-2, 2, width, dtype=np.float32)
    series = thirds(count)
    return {s: odd_ND[index] for s, index in series.items()}, task, series


def _standardised(feature, used_N):
    """By the rows in use, in double precision."""
    used_ND = feature["train"][used_N].astype(np.float64)
    mean_D, std_D = used_ND.mean(0), used_ND.std(0)
    return {split: (value - mean_D) / std_D for split, value in feature.items()}


def _ridge(feature, task, series, draw, strength):
    """Validation error and test values of scikit-learn."""
    own = _standardised(feature, draw.used_N)
    value_N = task.value_N[series["train"]][draw.used_N]
    centre, spread = value_N.mean(), value_N.std()
    model = Ridge(alpha=strength).fit(own["train"][draw.used_N], (value_N - centre) / spread)
    error = model.predict(own["val"]) - (task.value_N[series["val"]] - centre) / spread
    return np.mean(error**2), model.predict(own["test"])[:, None] * spread + centre


def _logistic(feature, task, series, draw, strength):
    own = _standardised(feature, draw.used_N)
    code_N = task.value_N[series["train"]][draw.used_N].astype(int)
    model = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10000)
    model.fit(own["train"][draw.used_N], code_N)
    val_JK = model.predict_log_proba(own["val"])
    code_J = task.value_N[series["val"]].astype(int)
    return -np.mean(val_JK[np.arange(len(val_JK)), code_J]), model.predict_proba(own["test"])


@pytest.mark.parametrize(
    ("kind", "classes", "twin"),
    [
        ("regression", 2, _ridge),
        ("classification", 2, _logistic),
        ("classification", 4, _logistic),
    ],
)
def test_every_draw_equals_sklearn_with_the_strength_that_validation_chose(kind, classes, twin):
    feature, task, series = _cohort(kind, classes)
    fitted = ridge.fit(feature, problem_of(task, series), strengths=STRENGTHS)
    assert len({p.choice["strength"] for p in fitted}) > 1
    for p in fitted:
        path = {s: twin(feature, task, series, p.draw, s) for s in STRENGTHS}
        chosen = min(path, key=lambda s: path[s][0])
        assert p.choice["strength"] == pytest.approx(chosen, rel=1e-5)
        loss, test_NK = path[chosen]
        assert p.choice["loss"] == pytest.approx(loss, rel=2e-3)
        scale = task.value_N.std() if kind == "regression" else 1
        assert np.abs(p.test_NK - test_NK).max() < 3e-3 * scale


@pytest.mark.parametrize("strength", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize(("kind", "classes"), [("regression", 2), ("classification", 3)])
def test_more_features_than_rows_is_no_trouble_at_any_strength(kind, classes, strength):
    feature, task, series = _cohort(kind, classes, count=60, width=40)
    twin = _ridge if kind == "regression" else _logistic
    p = ridge.fit(feature, problem_of(task, series, (1.0,), 1), strengths=(strength,))[0]
    expected_NK = twin(feature, task, series, p.draw, strength)[1]
    scale = task.value_N.std() if kind == "regression" else 1
    assert np.abs(p.test_NK - expected_NK).max() < 5e-3 * scale


def test_rows_outside_the_draw_test_labels_and_other_draws_do_not_matter():
    feature, task, series = _cohort("classification")
    whole = ridge.fit(feature, problem_of(task, series), strengths=STRENGTHS)
    small = problem_of(task, series, fractions=(0.4,), seeds=1)
    value_N, outside_N = task.value_N.copy(), series["train"][~small.draws[0].used_N]
    value_N[outside_N] = 1 - value_N[outside_N]
    value_N[series["test"]] = 0
    draw = small.draws[0]._replace(task=task._replace(value_N=value_N))
    changed = ridge.fit(feature, problem.group([draw], series)[0], strengths=STRENGTHS)[0]
    assert np.allclose(changed.test_NK, whole[0].test_NK, atol=1e-5)


def test_the_basis_reproduces_the_rows_in_use_and_holds_no_noise():
    rng = np.random.default_rng(0)
    feature_ND, weight_N = rng.normal(size=(30, 12)).astype(np.float32), np.arange(30) < 5
    basis = spectrum.decompose(jnp.asarray(feature_ND), jnp.asarray(weight_N, jnp.float32))
    assert np.sum(np.asarray(basis.size_R) > 0) == 4  # five centred rows
    assert not np.asarray(basis.row_NR)[5:].any()
    again_NR = spectrum.project(basis, feature_ND)[:5]
    assert np.allclose(again_NR, basis.row_NR[:5], atol=1e-4)
    kernel_RK, bias_K = rng.normal(size=(12, 2)).astype(np.float32), np.ones(2, np.float32)
    output_NK = heads.apply(spectrum.head(basis, kernel_RK, bias_K), feature_ND)
    expected_NK = spectrum.project(basis, feature_ND) @ kernel_RK + bias_K
    assert np.allclose(output_NK, expected_NK, atol=1e-4)


def test_newton_converges_and_a_separable_task_stays_finite():
    feature_ND = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    code_N = jnp.asarray(feature_ND[:, 0] > 0, jnp.float32)
    basis = spectrum.decompose(jnp.asarray(feature_ND), jnp.ones(20))

    def loss(output_N1):
        return jnp.sum(jax.nn.softplus(output_N1[:, 0]) - code_N * output_N1[:, 0])

    fit = jax.jit(lambda s: newton.minimise(loss, basis, s, outputs=1, curvature=0.25))
    for strength in (1e-4, 1e2):
        found = fit(strength)
        assert 0 < found.steps < newton.STEPS and np.isfinite(found.output_NK).all()
        slope = jax.grad(loss)(found.output_NK)
        stationary_R1 = basis.row_NR.T @ slope + strength * found.weights.kernel_RK
        assert np.abs(stationary_R1).max() < 1e-3


@pytest.mark.parametrize(("kind", "classes"), [("regression", 2), ("classification", 3)])
def test_each_set_of_rows_is_fitted_once(monkeypatch, kind, classes):
    cohort = _cohort(kind, classes)
    assert_each_is_fitted_once(ridge, monkeypatch, *cohort, strengths=STRENGTHS)
