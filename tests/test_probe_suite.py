"""The probes that learn in steps, and the whole suite, on a tiny cohort read from files."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from configs import probe_base
from tests import probe_network, probed, tiny
from tvrl_jax.checkpoint import checksums
from tvrl_jax.errors import UserError
from tvrl_jax.probing import (
    cls,
    constant,
    features,
    finetune_program,
    linear,
    paired,
    passes,
    predictions,
    problem,
    sampling,
    stats,
    study,
    tasks,
    windows,
)
from tvrl_jax.probing.temporal import suite as temporal
from tvrl_jax.report import tables, wording
from tvrl_jax.results import COLUMNS, KEY, PER_CLASS, kinds


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(folder, subjects=32)
    return folder


@pytest.fixture
def config(tmp_path):
    c = probe_base.get_config()
    c.update_from_flattened_dict(
        {
            "fractions": (0.5, 1.0),
            "seeds": 2,
            "features.cache": str(tmp_path / "cache"),
            "features.batch_size": 32,
            "features.settle_batches": 3,
            "linear.learning_rates": (0.03,),
            "linear.weight_decays": (0.0, 0.1),
            "linear.epochs": 40,
            "knn.ks": (1, 3),
            "bootstrap.samples": 60,
        }
    )
    for name in ("cls", "finetune"):
        section = dict(epochs=1, min_steps=4, batch_size=4, evaluations=2, val_windows=2)
        c[name].update(section)
    return c


def quiet(line):
    pass


def test_rows_of_all_methods_reach_results_csv(encoder, store, config, tmp_path):
    before = checksums((encoder.params, encoder.extra))
    said = []
    results = probed.run(encoder, store, config, tmp_path / "out", said.append)
    assert checksums((encoder.params, encoder.extra)) == before
    table = pd.DataFrame(results.rows)
    assert tuple(table.columns) == COLUMNS
    names = {"tvrl", "untrained", "constant", "tvrl - untrained", "tvrl - constant"}
    assert set(table.method) == names
    assert set(table.task) == {"radius", "large"} and set(table.probe) == {"linear"}
    counts = table[table.metric == PER_CLASS]
    cell = store.text["large"].iloc[store.split("test")]
    assert set(counts.task) == {"large"} and (counts.value == cell.value_counts().min()).all()
    single = table[table.method.isin(("tvrl", "untrained", "constant"))].drop(counts.index)
    # 3 methods, 2 fractions, 2 seeds and their mean, 2 metrics for each of 2 tasks
    assert len(single) == 3 * 2 * 3 * 4 and (single.n == 8).all()
    assert not table.duplicated(list(KEY)).any()
    chance = single[(single.method == "constant") & (single.metric == "auroc")]
    assert (chance.value == 0.5).all()
    assert any("fewer than 10" in note for note in results.notes)
    printed = tables.comparison(results.rows)
    assert "large !" in printed and "radius !" in printed and wording.SMALL_NOTE in printed
    assert not table.metric.str.contains("_p$|_p_").any() and " *" not in printed  # of 8 patients
    assert set(results.notes) <= set(said)
    classes = ", ".join(f'"{name}" {n}' for name, n in sorted(cell.value_counts().items()))
    assert f"large in the test series: {classes}" in said


def test_frozen_features_and_their_probes_are_computed_in_float32(
    encoder, store, config, tmp_path, monkeypatch
):
    """Accelerators multiply float32 at 8 to 11 bits unless asked for more."""
    asked = {}

    def watch(module, name):
        whole = getattr(module, name)

        def watched(*args, **kwargs):
            asked[name] = jax.config.jax_default_matmul_precision
            return whole(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    watch(features, "frame_features")
    watch(features, "over_windows")
    watch(linear, "_fit")
    watch(linear, "predict")
    probed.run(encoder, store, config, tmp_path / "out", quiet)
    assert set(asked.values()) == {"float32"} and len(asked) == 4


def test_every_prediction_is_kept(encoder, store, config, tmp_path):
    """From the file alone the rows of results.csv come out again."""
    config.kind, config.knn.feature = "knn", "token"
    results = probed.run(encoder, store, config, tmp_path, quiet)
    saved = predictions.read(tmp_path, "knn")
    assert set(saved) == set(results.arrays) and kinds(tmp_path) == ["knn"]
    assert saved["feature/tvrl"].shape == (8, probe_network.WIDTH)
    assert saved["classes/large"].tolist() == ["0", "1"]
    assert saved["patient"].tolist() == [store.series[i].subject for i in store.split("test")]
    key = ["method", "task", "fraction", "seed", "metric"]
    value = pd.DataFrame(results.rows).set_index(key).value
    truth_N = saved["label/radius"]
    for method in ("tvrl", "untrained", "constant"):
        output_MNK, fraction_M, seed_M = (
            saved[f"{what}/{method}/radius"] for what in ("output", "fraction", "seed")
        )
        assert output_MNK.shape == (4, 8, 1) and output_MNK.dtype == np.float32
        for output_NK, fraction, seed in zip(output_MNK, fraction_M, seed_M, strict=True):
            mae = np.abs(output_NK[:, 0] - truth_N).mean()
            assert value[method, "radius", fraction, seed, "mae"] == pytest.approx(mae)
    drawn_NK = saved["prediction/untrained/large"]
    m = np.flatnonzero(
        (saved["fraction/untrained/large"] == 1) & (saved["seed/untrained/large"] == 0)
    )
    assert (drawn_NK == saved["output/untrained/large"][m[0]]).all() and drawn_NK.shape == (8, 2)


@pytest.mark.parametrize(("folder", "told"), [("a", "a"), ("a - old", "a-old")])
def test_another_probe_of_the_same_patients_gets_a_column(
    encoder, store, config, tmp_path, folder, told
):
    config.update_from_flattened_dict({"kind": "knn", "baselines": (), "fractions": (1.0,)})
    probed.run(encoder, store, config, tmp_path / folder, quiet)
    config.knn.feature, config.against = "token", (str(tmp_path / folder),)
    results = probed.run(encoder, store, config, tmp_path / "b", quiet)
    other = f"tvrl ({tmp_path / told})"
    table = pd.DataFrame(results.rows)
    assert set(table.method) == {"tvrl", other, f"tvrl - {other}"}
    a, b = (paired.load(tmp_path / name, "knn") for name in (folder, "b"))
    expected = paired.differences(b, a, **config.bootstrap)
    found = table[table.method == f"tvrl - {other}"]
    assert found.value.tolist() == pd.DataFrame(expected).value.tolist()
    assert other in tables.comparison(results.rows)


def test_another_probe_may_lie_below_the_home_folder(encoder, store, config, tmp_path, monkeypatch):
    """As --workdir=~/a put it there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config.update_from_flattened_dict({"kind": "knn", "baselines": (), "fractions": (1.0,)})
    probed.run(encoder, store, config, tmp_path / "a", quiet)
    config.against = ("~/a",)
    results = probed.run(encoder, store, config, tmp_path / "b", quiet)
    assert f"tvrl ({tmp_path / 'a'})" in {row["method"] for row in results.rows}


def test_a_probe_of_other_patients_is_refused_before_any_feature(encoder, store, config, tmp_path):
    config.kind, config.baselines = "knn", ()
    kept = dict(probed.run(encoder, store, config, tmp_path, quiet).arrays)
    last = kept["patient"][-1]
    kept["patient"] = np.where(kept["patient"] == last, "other", kept["patient"])
    np.savez(predictions.place(tmp_path, "knn"), **kept)
    config.against, said = (str(tmp_path),), []
    with pytest.raises(UserError, match=f'^Test patient "{last}" of this probe'):
        probed.run(encoder, store, config, "/nowhere", said.append)
    config.against = (str(tmp_path / "absent"),)
    with pytest.raises(UserError, match='no "knn" probe'):
        probed.run(encoder, store, config, "/nowhere", said.append)
    assert not said


def test_restarts_split_the_spread_and_change_nothing_else(encoder, store, config, tmp_path):
    config.baselines, config.fractions = (), (0.5,)
    alone = pd.DataFrame(probed.run(encoder, store, config, tmp_path / "alone", quiet).rows)
    assert not alone.metric.str.contains("_sd_").any()
    config.restarts = 3
    results = probed.run(encoder, store, config, tmp_path / "again", quiet)
    table = pd.DataFrame(results.rows)
    assert not table.duplicated(list(KEY)).any()
    kept = predictions.read(tmp_path / "again", "linear")
    first = kept["restart/tvrl/radius"] == 0
    assert kept["restart/tvrl/radius"].tolist() == [0, 1, 2] * 2
    before = predictions.read(tmp_path / "alone", "linear")["output/tvrl/radius"]
    np.testing.assert_allclose(kept["output/tvrl/radius"][first], before, rtol=1e-4)
    score = np.abs(kept["output/tvrl/radius"][..., 0] - kept["label/radius"]).mean(1).reshape(2, 3)
    value = table.set_index(["task", "seed", "metric"]).value
    assert value["radius", "all", "mae"] == pytest.approx(score.mean())
    assert value["radius", 1, "mae"] == pytest.approx(score[1].mean())
    start = value["radius", "all", "mae_sd_optimisation"]
    assert start == pytest.approx(np.sqrt(score.var(1, ddof=1).mean())) and start > 0
    assert {"mae_sd_draw", "auroc_sd_draw", "auroc_sd_optimisation"} <= set(table.metric)
    assert "_sd_" not in tables.comparison(results.rows)


@pytest.mark.parametrize("kind", ["knn", "cls", "finetune"])
def test_only_probes_with_a_random_start_vary_among_restarts(
    encoder, store, config, tmp_path, kind
):
    changes = dict(kind=kind, restarts=2, seeds=1, fractions=(1.0,), baselines=("constant",))
    config.update(changes)
    config.data.targets = ("radius:regression",)
    table = pd.DataFrame(probed.run(encoder, store, config, tmp_path, quiet).rows)
    value = table.set_index(["method", "metric"]).value
    assert value["constant", "mae_sd_optimisation"] == 0
    assert (value["tvrl", "mae_sd_optimisation"] == 0) == (kind == "knn")
    assert not table.metric.str.endswith("_sd_draw").any()  # one draw tells nothing about draws


def test_a_comparison_from_the_files_gives_the_rows_of_the_suite(encoder, store, config, tmp_path):
    config.kind = "knn"
    results = probed.run(encoder, store, config, tmp_path, quiet)
    ours, untrained = (paired.load(tmp_path, "knn", method=m) for m in ("", "untrained"))
    made = paired.differences(ours, untrained, **config.bootstrap)
    expected = [row for row in results.rows if row["method"] == "tvrl - untrained"]
    assert pd.DataFrame(made).equals(pd.DataFrame(expected)) and len(made) == 8


@pytest.mark.parametrize("kind", ["cls", "finetune", "supervised"])
def test_the_probes_that_learn_in_steps_run_and_leave_the_encoder_alone(
    encoder, store, config, tmp_path, kind, capsys
):
    config.kind, config.seeds, config.fractions = kind, 1, (1.0,)
    config.baselines = ("untrained",) if kind == "cls" else ("constant",)
    before = checksums((encoder.params, encoder.extra))
    results = probed.run(encoder, store, config, tmp_path, quiet)
    assert checksums((encoder.params, encoder.extra)) == before
    table = pd.DataFrame(results.rows)
    method = "supervised" if kind == "supervised" else "tvrl"
    assert method in set(table.method) and np.isfinite(table[table.method == method].value).all()
    told = capsys.readouterr().err
    assert "the first step compiles" in told and "elapsed" in told and "left 0:00" in told
    assert ("val_loss" in told) == (kind != "cls")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"restarts": 0}, ["config.restarts", "at least 1"]),
        ({"survival.grid": 10**9}, ["config.survival.grid", "more than 100000"]),
        ({"kind": "lineer"}, ['"lineer"', '"linear"']),
        ({"baselines": ("untrianed",)}, ['"untrained"']),
        ({"fractions": (0.01,)}, ["smallest usable fraction"]),
        ({"fractions": ()}, ["fractions is empty"]),
        ({"fractions": (float("nan"),)}, ["config.fractions", "greater than 0 and at most 1"]),
        ({"fractions": ("a",)}, ["config.fractions = ('a',)", "at most 1"]),
        ({"fractions": (True,)}, ["config.fractions = (True,)", "at most 1"]),
        ({"fractions": (1.5,)}, ["config.fractions = (1.5,)", "at most 1"]),
        ({"fractions": (1.0, 0.5, 1)}, ["config.fractions names 1.0 twice"]),
        ({"baselines": ("constant", "constant")}, ["config.baselines names 'constant' twice"]),
        ({"against": ("runs/a", "runs/a")}, ["config.against names 'runs/a' twice"]),
        (
            {"data.targets": ("radius:regression", "radius:classification")},
            ['data.targets names "radius" twice'],
        ),
        (
            {"kind": "supervised", "baselines": ("untrained",)},
            ['config.baselines has "untrained"; kind "supervised" takes () or (\'constant\',)'],
        ),
        ({"bootstrap.seed": -1}, ["config.bootstrap.seed = -1", "0 or more"]),
        ({"untrained_seed": -1}, ["config.untrained_seed = -1", "0 or more"]),
        ({"knn.ks": (1.5,)}, ["config.knn.ks = (1.5,)", "whole numbers"]),
        ({"knn.ks": (float("inf"),)}, ["config.knn.ks"]),
        ({"linear.chunk": -1}, ["config.linear.chunk = -1", "0 or more"]),
        ({"cls.chunk": -1}, ["config.cls.chunk = -1", "0 or more"]),
        ({"features.stride": -1}, ["config.features.stride = -1", "0 or more"]),
        ({"features.cache": __file__}, ["config.features.cache", "File exists", "folder"]),
        ({"features.cache": f"{__file__}/x"}, ["config.features.cache", "Not a directory"]),
        ({"features.cache": ""}, ["config.features.cache is empty"]),
        ({"finetune.warmup_fraction": 5.0}, ["finetune.warmup_fraction = 5.0", "0 and 1"]),
        ({"finetune.clip_norm": -1.0}, ["finetune.clip_norm = -1.0", "0 or more"]),
        ({"data.targets": ("radios:regression",)}, ['"radios"', '"radius"']),
        ({"linear.learning_rates": (0.0,)}, ["linear.learning_rates"]),
        ({"linear.weight_decays": ()}, ["linear.weight_decays"]),
        ({"cls.evaluations": 0}, ["cls.evaluations", "at least 1"]),
        ({"knn.temperature": 0.0}, ["knn.temperature"]),
        ({"knn.temperature": 1e-40}, ["knn.temperature = 1e-40", "at least 1e-6"]),
    ],
)
def test_bad_settings_are_refused_before_any_feature(encoder, store, config, changes, words):
    config.update_from_flattened_dict(changes)
    said = []
    with pytest.raises(UserError) as error:
        probed.run(encoder, store, config, "/nowhere", said.append)
    assert all(word in str(error.value) for word in words) and not said


@pytest.mark.parametrize("kind", ["knn", "cox", "temporal"])
@pytest.mark.parametrize("absent", tasks.SPLITS)
def test_a_split_without_patients_is_named_and_not_a_column(encoder, store, config, kind, absent):
    kept = [i for i, info in enumerate(store.series) if info.split != absent]
    config.kind, config.baselines = kind, ()
    plan = temporal.plan if kind == "temporal" else study.plan
    with pytest.raises(UserError, match=f"cohort.csv has no series in the {absent} split"):
        plan(encoder, store.only(kept), config, quiet)


@pytest.mark.parametrize("kind", ["knn", "temporal"])
def test_a_class_that_is_only_tested_is_refused_by_its_row(encoder, store, config, kind):
    config.kind, config.baselines = kind, ()
    plan = temporal.plan if kind == "temporal" else study.plan
    abroad = store.only(range(len(store.series)))
    at = store.split("test")[3]
    abroad.text = store.text.copy()
    abroad.text.iloc[at, store.text.columns.get_loc("large")] = "none"
    row, words = store.series[at].row, 'no training patient is of class "none"; leave the cells'
    with pytest.raises(UserError, match=f'row {row}, column "large": {words}.*"0", "1"'):
        plan(encoder, abroad, config, quiet)
    abroad.text.iloc[at, store.text.columns.get_loc("large")] = ""
    plan(encoder, abroad, config, quiet)


def test_a_cohort_in_another_unit_is_refused(encoder, store, config):
    other = encoder.config.copy_and_resolve_references()
    other.data.time_unit = "days"
    with pytest.raises(UserError, match="time_unit.*is s.*with days"):
        probed.run(encoder._replace(config=other), store, config, "/nowhere", quiet)


def test_fine_tuning_learns_what_the_frames_show(encoder, store, config, tmp_path):
    """The mean brightness of a frame tells the size of the disc, but only a trained head knows."""
    config.kind, config.seeds, config.fractions, config.baselines = "finetune", 1, (1.0,), ()
    config.data.targets = ("radius:regression",)
    config.finetune.update(dict(min_steps=200, evaluations=10, learning_rates=(0.01,)))
    learnt = probed.run(encoder, store, config, tmp_path, quiet)
    value = pd.DataFrame(learnt.rows).set_index(["seed", "metric"]).value
    assert value["all", "r2"] > 0.3


def test_a_fine_tuning_step_compiles_once_also_from_a_restored_checkpoint(encoder):
    """A restored array is bound to its device, and so is what a step returns; a new one is not."""
    device = jax.devices()[0]
    bound = encoder._replace(params=jax.device_put(encoder.params, device))
    augment = probe_base.get_config().augment.to_dict() | {"time_origin": "window"}
    compiled = finetune_program.compile_for(bound, "regression", augment=augment, clip_norm=1.0)
    network = finetune_program.start(bound, outputs=1, seed=0, clip_norm=1.0)
    shape = (2, 1, 4)  # batch, views, frames
    batch = dict(
        clip_BVTHWC=np.zeros((*shape, tiny.SIZE, tiny.SIZE, 1), np.uint8),
        time_BVT=np.zeros(shape, np.float32),
        valid_BVT=np.ones(shape, bool),
        target_B=np.zeros(2, np.float32),
        weight_B=np.ones(2, np.float32),
    )
    for step in range(2):
        network, _ = compiled.step(network, batch, jax.random.key(step), 1e-3, 0.0)
    assert compiled.step._cache_size() == 1
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(bound.params))


def test_the_cls_probe_refuses_a_joint_encoder_before_any_feature(encoder, store, config):
    whole = {"encoder": {"blocks": np.zeros(1)}}
    config.kind, said = "cls", []
    with pytest.raises(UserError, match='config.kind = "cls" needs a temporal encoder'):
        probed.run(encoder._replace(params=whole), store, config, "/nowhere", said.append)
    assert not said


def test_a_diverging_fine_tuning_stops_in_words(encoder, store, config, tmp_path):
    config.kind, config.seeds, config.fractions = "finetune", 1, (1.0,)
    config.data.targets = ("radius:regression",)
    config.finetune.learning_rates = (1e30,)
    with pytest.raises(UserError, match="not finite; lower finetune.learning_rates"):
        probed.run(encoder, store, config, tmp_path, quiet)
    config.finetune.learning_rates = (1e-3,)
    grown = encoder._replace(params=jax.tree.map(lambda leaf: leaf * np.inf, encoder.params))
    with pytest.raises(UserError, match="is not finite, nor is.*its pretraining has diverged"):
        probed.run(grown, store, config, tmp_path, quiet)


def _clips(encoder, store, split):
    series = store.split(split)
    table = windows.cut(
        store,
        series,
        frames=4,
        stride=1,
        sampling="random",
        relative_time=True,
        time_origin="window",
        every=1,
    )
    rng = np.random.default_rng(len(series))
    frame_FD = rng.normal(size=(len(series) * tiny.FRAMES, probe_network.WIDTH)).astype(np.float32)
    return cls.Clips(frame_FD, table), series


def test_the_cls_probe_learns_through_frozen_blocks(encoder, store):
    """The label is hidden in the frame features, so a token that learns finds it."""
    splits = {split: _clips(encoder, store, split) for split in tasks.SPLITS}
    value_N = np.full(len(store.series), np.nan, np.float32)
    for clips, series in splits.values():
        value_N[series] = np.linspace(-1, 1, len(series))
        clips.frame_FD[:, :12] += 2 * np.repeat(value_N[series], tiny.FRAMES)[:, None]
    task = tasks.Task("hidden", "regression", (), 50 + 10 * value_N)
    series = {split: own for split, (_, own) in splits.items()}
    draws = sampling.draws((task,), series["train"], series["train"], fractions=(1.0,), seeds=2)
    problems = problem.group(draws, series)
    grid = dict(learning_rates=(0.02,), weight_decays=(0.0, 0.01))
    steps = dict(epochs=30, batch_size=8, min_steps=1, evaluations=3, val_windows=2)
    clips = {split: own for split, (own, _) in splits.items()}
    fitted = cls.fit(encoder, clips, problems[0], **grid, **steps, chunk=3)
    again = cls.fit(encoder, clips, problems[0], **grid, **steps, chunk=0)
    truth_N = task.value_N[series["test"]]
    for p, same in zip(fitted, again, strict=True):
        assert sk.r2_score(truth_N, p.test_NK[:, 0]) > 0.8
        assert np.allclose(p.test_NK, same.test_NK, rtol=1e-3)
    baseline = constant.fit(problems[0], len(truth_N))[0].test_NK
    assert np.abs(baseline[:, 0] - task.value_N[series["train"]].mean()).max() < 1e-4


def test_test_windows_are_averaged_as_recorded(parity_dir):
    with np.load(parity_dir / "10a_evaluator_classification.npz") as record:
        clip_NWK, mean_NK = record["out/test_clip_logits"], record["out/test_mean_logits"]
        probability_N, label_N = record["out/test_prob1"], record["in/test_label"]
        auc = float(record["out/test_auc"])
    series, count, outputs = clip_NWK.shape
    where = np.repeat(np.arange(series), count).astype(np.int32)
    table = windows.Windows(where, *(np.zeros((len(where), 1)),) * 3)
    got_NK = windows.mean(table, clip_NWK.reshape(-1, outputs), series)
    assert np.allclose(got_NK, mean_NK, rtol=1e-9)
    output_NK = np.asarray(jax.nn.softmax(jnp.asarray(got_NK)))
    assert np.allclose(output_NK[:, 1], probability_N, atol=6.6e-7)
    assert stats.auroc(label_N, output_NK, stats.once(series))[0] == auc


def test_a_training_order_visits_all_rows_in_use_and_no_other():
    used_N = np.arange(20) % 2 == 0
    steps = passes.steps(10, batch_size=4, epochs=2, min_steps=3, evaluations=4)
    assert steps == 8  # six steps, rounded up to whole evaluations
    row = passes.order(used_N, steps=steps, batch_size=4, seed=0)
    assert row.shape == (8, 4) and set(row.ravel()) == set(range(0, 20, 2))
    assert sorted(row.ravel()[:10]) == list(range(0, 20, 2))
