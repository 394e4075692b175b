"""The attentive probe: finds the frame that tells, and nothing that must not matter does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import problem_of, thirds
from sklearn import metrics as sk

from configs import base, probe_base
from tests import probe_network, probed, tiny
from tvrl_jax.data import opening
from tvrl_jax.probing import attentive, heads, linear, problem, suite, tasks

WIDTH, FRAMES = 12, 10
GRID = {"learning_rates": (0.01, 0.1), "weight_decays": (0.0, 0.1)}
STEPS = {"batch_size": 32, "epochs": 40, "min_steps": 50, "evaluations": 8}


def _cohort(kind="regression", count=240, seed=0):
    """Series of 4 to 10 frames; the label stands in one frame, which another channel marks."""
    rng = np.random.default_rng(seed)
    frames_N = rng.integers(4, FRAMES + 1, size=count)
    signal_N, end_N = rng.normal(size=count), np.cumsum(frames_N)
    token_FD = rng.normal(size=(end_N[-1], WIDTH)).astype(np.float32)
    marked_N = end_N - 1 - rng.integers(frames_N)
    token_FD[:, 1] = 0
    token_FD[marked_N, 0], token_FD[marked_N, 1] = 2 * signal_N, 4
    value_N = 60 + 8 * signal_N if kind == "regression" else signal_N > 0.3
    names = () if kind == "regression" else ("no", "yes")
    task = tasks.Task("y", kind, names, value_N.astype(np.float32))
    series = thirds(count)
    return token_FD, frames_N, task, series


def _splits(token_FD, frames_N, series, limit=FRAMES, held_F=None):
    held_F = np.ones(len(token_FD), bool) if held_F is None else held_F
    begin_N = np.cumsum(frames_N) - frames_N
    made = {}
    for split, own in series.items():
        place = np.concatenate([begin_N[i] + np.arange(frames_N[i]) for i in own])
        made[split] = attentive.tokens(token_FD[place], held_F[place], frames_N[own], limit)
    return made


def _fit(splits, part, chunk=0, **changes):
    return attentive.fit(splits, part, **GRID | STEPS | changes, chunk=chunk)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_it_finds_the_frame_that_tells_where_the_mean_of_the_frames_does_not(kind):
    token_FD, frames_N, task, series = _cohort(kind)
    splits = _splits(token_FD, frames_N, series)
    part = problem_of(task, series, fractions=(1.0,))
    truth_N = task.value_N[series["test"]]
    mean = {s: t.token_NLD.sum(1) / t.valid_NL.sum(1)[:, None] for s, t in splits.items()}
    blind = linear.fit(mean, part, **GRID, epochs=200, chunk=0)
    score, least = {"regression": (sk.r2_score, 0.6), "classification": (sk.roc_auc_score, 0.75)}[
        kind
    ]
    for p, other in zip(_fit(splits, part), blind, strict=True):
        assert score(truth_N, p.test_NK[:, -1]) > score(truth_N, other.test_NK[:, -1]) + 0.1
        assert score(truth_N, p.test_NK[:, -1]) > least


def _naive(part, token_FD, frames_N, scale):
    """Frame by frame, in double precision."""
    rows, start = [], 0
    for count in frames_N:
        frames = token_FD[start : start + count].astype(np.float64)
        unit = [(x - x.mean()) / np.sqrt(x.var() + attentive.EPSILON) for x in frames]
        weight = np.exp([x @ part["query"] / np.sqrt(WIDTH) for x in unit])
        pooled = sum(w * x for w, x in zip(weight / weight.sum(), unit, strict=True))
        kernel, bias = part["head"]["kernel"], part["head"]["bias"]
        rows.append((pooled - scale[0]) / scale[1] @ kernel + bias)
        start += count
    return np.array(rows)


def _part(rng):
    query_D = jnp.asarray(3 * rng.normal(size=WIDTH), jnp.float32)
    return {"query": query_D, "head": heads.init(jax.random.key(0), WIDTH, 2)}


def test_outputs_equal_a_naive_loop_whatever_the_padding_holds():
    rng = np.random.default_rng(1)
    token_FD, frames_N, _, _ = _cohort(count=9)
    part = _part(rng)
    scale = (rng.normal(size=WIDTH), rng.uniform(0.5, 2, WIDTH))
    expected = _naive(part, token_FD, frames_N, scale)
    split = attentive.tokens(token_FD, np.ones(len(token_FD), bool), frames_N, FRAMES)
    assert not split.valid_NL.all()
    assert np.allclose(attentive.forward(part, *split, scale), expected, atol=1e-4)
    token_NLD = np.where(split.valid_NL[..., None], split.token_NLD, 1e4)
    longer = (np.pad(a, [(0, 0), (0, 5)] + [(0, 0)] * (a.ndim - 2)) for a in (token_NLD, split[1]))
    assert np.allclose(attentive.forward(part, *longer, scale), expected, atol=1e-4)


def test_padding_changes_no_fit():
    token_FD, frames_N, task, series = _cohort(count=90)
    splits, part = _splits(token_FD, frames_N, series), problem_of(task, series, (1.0,), 1)
    padded = {
        s: attentive.Tokens(
            np.pad(t.token_NLD, [(0, 0), (0, 7), (0, 0)]), np.pad(t.valid_NL, [(0, 0), (0, 7)])
        )
        for s, t in splits.items()
    }
    assert np.allclose(_fit(splits, part)[0].test_NK, _fit(padded, part)[0].test_NK, rtol=1e-3)


def test_frames_that_no_window_holds_are_left_out_and_long_series_evenly_thinned():
    token_FD = np.random.default_rng(2).normal(size=(16, WIDTH)).astype(np.float32)
    held_F = np.ones(16, bool)
    held_F[[2, 9]] = False
    split = attentive.tokens(token_FD, held_F, np.array([4, 12]), 5)
    unit_FD = attentive._normalise(token_FD)
    assert split.valid_NL.sum(1).tolist() == [3, 5]
    assert np.array_equal(split.token_NLD[0, :3], unit_FD[[0, 1, 3]])
    # held are 4 to 8 and 10 to 15; of 11 the first, the last, and 3 between at even distance
    assert np.array_equal(split.token_NLD[1], unit_FD[[4, 6, 10, 13, 15]])
    assert not split.token_NLD[0, 3:].any()


def test_any_chunk_and_company_gives_the_same_fit():
    token_FD, frames_N, task, series = _cohort(count=90)
    splits = _splits(token_FD, frames_N, series)
    together = _fit(splits, problem_of(task, series))
    by_one = _fit(splits, problem_of(task, series), chunk=1)
    for a, b in zip(together, by_one, strict=True):
        assert a.choice == b.choice and np.allclose(a.test_NK, b.test_NK, rtol=1e-3)
    alone = _fit(splits, problem_of(task, series, fractions=(0.4,), seeds=1))[0]
    assert np.allclose(alone.test_NK, together[0].test_NK, rtol=1e-3)


def test_rows_outside_the_draw_and_test_labels_do_not_matter():
    token_FD, frames_N, task, series = _cohort(count=90)
    splits, small = _splits(token_FD, frames_N, series), problem_of(task, series, (0.4,), 1)
    value_N, outside_N = task.value_N.copy(), series["train"][~small.draws[0].used_N]
    value_N[outside_N] += 50
    value_N[series["test"]] = -1
    draw = small.draws[0]._replace(task=task._replace(value_N=value_N))
    changed = _fit(splits, problem.group([draw], series)[0])[0]
    assert np.array_equal(changed.test_NK, _fit(splits, small)[0].test_NK)


def test_the_cell_and_the_step_are_chosen_by_validation():
    token_FD, frames_N, task, series = _cohort()
    value_N = task.value_N.copy()
    value_N[series["val"]] = 120 - value_N[series["val"]]  # validation says the opposite
    splits = _splits(token_FD, frames_N, series)
    wrong = _fit(splits, problem_of(task._replace(value_N=value_N), series, (1.0,), 1))[0]
    right = _fit(splits, problem_of(task, series, (1.0,), 1))[0]
    assert wrong.choice["step"] < right.choice["step"]
    assert wrong.test_NK.std() < 0.5 * right.test_NK.std()


@pytest.mark.parametrize("kind", ["attentive", "ridge"])
def test_the_suite_runs_the_kind_on_a_cohort_of_files(tmp_path, kind):
    tiny.write_cohort(tmp_path, subjects=32)
    pretraining = tiny.shrink(base.get_config(), tmp_path)
    pretraining.method = "tvrl"
    network = probe_network.make(frames=4, side=tiny.SIZE)
    encoder = suite.Encoder(network, *network.init(jax.random.key(0)), pretraining)
    config = probe_base.get_config()
    config.kind, config.fractions, config.seeds, config.baselines = kind, (1.0,), 1, ()
    config.features.cache = str(tmp_path / "cache")
    config.attentive.update(GRID | STEPS | {"frames": 8})
    config.bootstrap.samples = 40
    store = opening.open_cohort(pretraining.data)
    results = probed.run(encoder, store, config, tmp_path, lambda line: None)
    value = {(row["task"], row["metric"], row["seed"]): row["value"] for row in results.rows}
    assert value["radius", "r2", "all"] > 0.3 and value["large", "auroc", "all"] > 0.7
