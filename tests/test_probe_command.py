"""probe.py as a person runs it: what is wrong leaves the folder alone, what is right fills it."""

import ast
import json
import re
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from forked import run_all
from ml_collections import ConfigDict
from test_command_line import assert_sentence, run

from configs import base, probe_base, probe_export, probe_knn, tvrl
from tests import tiny
from tvrl_jax import inference, learner, prober, settings
from tvrl_jax.checkpoint import Checkpoints, restore_for_reading
from tvrl_jax.data import opening
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder
from tvrl_jax.probing import check, methods, paired
from tvrl_jax.report import tables
from tvrl_jax.results import COLUMNS


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A run folder that holds the smallest model as it starts: a checkpoint like any other."""
    folder = tmp_path_factory.mktemp("pretrained")
    tiny.write_cohort(folder / "cohort", subjects=32)
    config = tiny.shrink(tvrl.get_config("phantom_cardiac"), folder / "cohort")
    network = learner.make_network(config, learner.find_objective(config), outputs=1)
    params, extra = network.init(jax.random.key(0))
    with Checkpoints(folder / "run" / "checkpoints", keep=1, best="loss") as checkpoints:
        tree = {"params": params, "extra": extra, "ema": {}}
        checkpoints.save(1, tree, {"config": settings.to_json(config)}, {"loss": 1.0})
        checkpoints.wait()
    return folder


def _changes(pretrained, **changes):
    keys = {"seeds": 2, "restarts": 2, "fractions": (0.5, 1.0), "baselines": ("constant",)}
    keys |= {"bootstrap.samples": 50, "features.cache": str(pretrained / "cache")}
    return keys | {key.replace("__", "."): value for key, value in changes.items()}


def _command(pretrained, workdir, **changes):
    return run(
        "probe.py",
        "--config=configs/probe_knn.py",
        f"--checkpoint={pretrained / 'run'}",
        f"--workdir={workdir}",
        *(f"--config.{key}={value}" for key, value in _changes(pretrained, **changes).items()),
    )


def _probe(pretrained, workdir, run_dir="", **changes):
    config = probe_knn.get_config()
    config.update_from_flattened_dict(_changes(pretrained, **changes))
    run_dir = str(run_dir or pretrained / "run")
    kinds = dict(step="newest", resume=False, base=base.get_config())
    prober.probe(config, run_dir, str(workdir), **kinds)
    return tables.read_results(workdir / "results.csv")


def test_a_fraction_without_a_patient_of_a_class_names_the_smallest_that_works(
    pretrained, tmp_path, capsys
):
    workdir, only = tmp_path / "probe", {"data__targets": ("large:classification",)}
    result = _command(pretrained, workdir, fractions=(0.01, 1.0), **only)
    words = ['Column "large"', "config.fractions holds 0.01, which leaves 0 of", 'of class "']
    assert_sentence(result, *words)
    assert not workdir.exists()
    mended = re.search(r'--config.fractions="(.+)"', result.stderr)[1]
    named, _ = mended = ast.literal_eval(mended)
    rows = _probe(pretrained, workdir, fractions=mended, **only)
    found = {row["metric"] for row in rows if row["fraction"] == named}
    assert found >= {"auroc_sd_draw", "auroc_sd_optimisation"}
    assert not found & {"auroc_p", "auroc_p_delong"}  # of few patients
    page, printed = (workdir / "report.html").read_text(), capsys.readouterr().out
    assert all("large !" in text and "fewer than 10 test" in text for text in (page, printed))
    assert "label draw" in page and "_sd_draw" not in printed


def test_a_run_named_by_its_checkpoints_is_told_with_its_log(pretrained, tmp_path, capsys):
    run_dir = tmp_path / "run"
    shutil.copytree(pretrained / "run", run_dir)
    (run_dir / "metrics.jsonl").write_text('{"step": 0, "loss": null}\n')
    _probe(pretrained, tmp_path / "probe", run_dir / "checkpoints")
    page, printed = (tmp_path / "probe" / "report.html").read_text(), capsys.readouterr().out
    assert "The loss was not finite at step 0." in page and "1 alarm" in printed
    assert f"<dd>{run_dir}</dd>" in page


CLOCK = {"columns.times": "times", "frame_interval": -1.0, "on_equal_times": "stop"}
BAD_ROWS = {  # of the first row: what stands there, keys of the data section, words of the answer
    "event": ({"dead": "2"}, {}, ["row 2", 'column "dead"', "event is 2", "1 (observed) or 0"]),
    "negative": ({"after": "-1"}, {}, ["row 2", 'column "after"', "duration is -1"]),
    "missing": ({"after": ""}, {}, ["row 2", "fill in both or neither"]),
    "equal": ({"times": "3 " * tiny.FRAMES}, CLOCK, ["row 2", "have the time 3", "on_equal_times"]),
}


def test_an_outcome_or_a_clock_that_cannot_be_is_one_sentence(pretrained, tmp_path):
    root, lines = pretrained / "cohort", {}
    table = pd.read_csv(root / "cohort.csv")
    table["dead"], table["after"] = np.arange(len(table)) % 2, 1.0 + np.arange(len(table))
    table["times"] = " ".join(map(str, range(tiny.FRAMES)))
    table = table.astype(str)
    for name, (cells, keys, _) in BAD_ROWS.items():
        wrong = table.copy()
        wrong.loc[0, list(cells)] = list(cells.values())
        wrong.to_csv(root / f"{name}.csv", index=False)
        keys = {"csv": f"{name}.csv", "columns.event": "dead", "columns.duration": "after"} | keys
        lines[name] = (
            "probe.py",
            "--config=configs/probe_cox.py",
            f"--checkpoint={pretrained / 'run'}",
            f"--workdir={tmp_path / name}",
            *(f"--config.data.{key}={value}" for key, value in keys.items()),
            f"--config.features.cache={pretrained / 'cache'}",
        )
    answers = run_all(lines.values())
    for name, (_, _, words) in BAD_ROWS.items():
        code, said = answers[lines[name]]
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert code == 2 and len(errors) == 1 and "Traceback" not in said, said
        assert all(word in errors[0] for word in words), errors[0]
        assert not (tmp_path / name).exists()


def test_another_probe_is_compared_only_on_the_same_patients(pretrained, tmp_path):
    _probe(pretrained, tmp_path / "a")
    first = paired.load(tmp_path / "a", "knn").patient_N[0]
    cohort = tmp_path / "cohort"
    shutil.copytree(pretrained / "cohort", cohort)
    table, row = (cohort / "cohort.csv").read_text(), f"{first},{first}.npy,"
    assert row + "test" in table
    (cohort / "cohort.csv").write_text(table.replace(row + "test", row + "train"))
    changes = dict(against=f"('{tmp_path / 'a'}',)", data__root=cohort)
    result = _command(pretrained, tmp_path / "b", **changes)
    assert_sentence(result, f'Test patient "{first}" of {tmp_path / "a"}', "same test patients")
    assert not (tmp_path / "b").exists()


def test_features_of_a_cohort_without_labels_or_splits_are_exported(pretrained, tmp_path, capsys):
    table = pd.read_csv(pretrained / "cohort" / "cohort.csv")[["subject", "path"]][:3]
    table.to_csv(tmp_path / "new.csv", index=False)
    config = probe_export.get_config()
    config.update_from_flattened_dict({
        "data.csv": str(tmp_path / "new.csv"), "data.columns.split": "none",
        "features.cache": str(tmp_path / "cache"),
    })  # fmt: skip
    folder = tmp_path / "features"
    kinds = dict(step="newest", resume=False, base=base.get_config())
    prober.probe(config, str(pretrained / "run"), str(folder), **kinds)
    names = ["features.csv", "features.npz", "probe_export.json"]
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == names
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [str(folder / name) for name in names[:2]]
    made = pd.read_csv(folder / "features.csv")
    assert list(made.patient) == list(table.subject) and not made.isna().any(axis=None)
    held = np.load(folder / "features.npz")["cls"]
    _assert_encoded_alike(pretrained / "run", pretrained / "cohort", held)


def _assert_encoded_alike(run_dir, cohort, cls_ND) -> None:
    """A file that was read by hand has the features of its row."""
    encoder = inference.load(run_dir)
    frame_THW = np.load(cohort / pd.read_csv(cohort / "cohort.csv").path[0])
    np.testing.assert_allclose(
        inference.encode(encoder, frame_THW).cls_D, cls_ND[0], rtol=1e-4, atol=1e-5
    )


def test_an_averaged_encoder_normalises_by_statistics_of_its_own(pretrained, tmp_path, caplog):
    """Its running statistics are another network's: exported features do not depend on them."""
    caplog.set_level("INFO")
    restored = restore_for_reading(pretrained / "run", ("params", "extra", "ema"), "newest")
    tree, found = restored.tree, []
    for name, spread in (("a", 1.0), ("b", 9.0)):
        extra = jax.tree.map(lambda a, by=spread: a * by, tree["extra"])
        made = {"params": tree["params"], "extra": extra, "ema": tree["params"]["encoder"]}
        with Checkpoints(tmp_path / name / "checkpoints", keep=1, best="loss") as checkpoints:
            checkpoints.save(1, made, {"config": restored.meta["config"]}, {"loss": 1.0})
            checkpoints.wait()
        config = probe_export.get_config()
        config.features.cache = str(tmp_path / "cache")
        kinds = dict(step="newest", resume=False, base=base.get_config())
        prober.probe(config, str(tmp_path / name), str(tmp_path / f"{name}-out"), **kinds)
        found.append(np.load(tmp_path / f"{name}-out" / "features.npz")["cls"])
        _assert_encoded_alike(tmp_path / name, pretrained / "cohort", found[-1])
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3)
    assert "BatchNorm of the averaged encoder" in caplog.text and found[0].std() > 0


def _config(pretrained):
    restored = restore_for_reading(pretrained / "run", ("ema",), "newest")
    return settings.stored(restored.meta["config"])


def _averaged(pretrained, folder, config=None) -> None:
    """A run folder with an averaged encoder, in which heads have BatchNorm of their own."""
    config = config or _config(pretrained)
    network = learner.make_network(config, learner.find_objective(config), outputs=1)
    params, extra = network.init(jax.random.key(0))
    with Checkpoints(folder / "checkpoints", keep=1, best="loss") as checkpoints:
        tree = {"params": params, "extra": extra, "ema": params["encoder"]}
        checkpoints.save(1, tree, {"config": settings.to_json(config)}, {"loss": 1.0})
        checkpoints.wait()


def _export(run_dir, workdir, cache, **data) -> dict:
    config = probe_export.get_config()
    config.features.cache = str(cache)
    config.data.update(data)
    kinds = dict(step="newest", resume=False, base=base.get_config())
    prober.probe(config, str(run_dir), str(workdir), **kinds)
    return np.load(workdir / "features.npz")


def test_an_averaged_encoder_gives_an_image_the_same_features_in_any_table(pretrained, tmp_path):
    """Its BatchNorm is settled at home, also for a table of other images, all of them to test."""
    _averaged(pretrained, tmp_path / "run")
    abroad, images = tmp_path / "abroad", pretrained / "cohort"
    tiny.write_cohort(abroad, subjects=8, seed=1)
    (abroad / "s00.npy").write_bytes((images / "s00.npy").read_bytes())
    table = pd.read_csv(abroad / "cohort.csv")
    table.assign(split="test").to_csv(abroad / "cohort.csv", index=False)
    made = _export(
        tmp_path / "run", tmp_path / "out", tmp_path / "cache", root=str(abroad), cohort="abroad"
    )
    assert list(made["split"]) == ["test"] * 8
    _assert_encoded_alike(tmp_path / "run", images, made["cls"])


def test_an_averaged_encoder_whose_cohort_has_gone_says_what_it_is_for(pretrained, tmp_path):
    config = _config(pretrained)
    config.data.root = str(tmp_path / "gone")
    config.data.phantom.kind = ""
    _averaged(pretrained, tmp_path / "run", config)
    with pytest.raises(UserError, match="^the cohort of the run settles .* BatchNorm: .*gone"):
        inference.load(tmp_path / "run")
    where = dict(root=str(pretrained / "cohort"), cohort="abroad")
    with pytest.raises(UserError, match="^the cohort of the run settles"):
        _export(tmp_path / "run", tmp_path / "out", tmp_path / "cache", **where)


def test_an_averaged_encoder_without_batchnorm_needs_no_cohort(pretrained, tmp_path):
    """Statistics of a projection head, which no probe reads, are not settled."""
    config = _config(pretrained)
    config.data.root = str(tmp_path / "gone")
    config.model.update(stem="patch", patch_size=8)
    _averaged(pretrained, tmp_path / "run", config)
    encoder = inference.load(tmp_path / "run")
    assert encoder.extra == {}
    frame_THW = np.load(pretrained / "cohort" / "s00.npy")
    assert np.isfinite(inference.encode(encoder, frame_THW).cls_D).all()


def test_an_export_tells_test_patients_whom_pretraining_has_seen(pretrained, tmp_path, caplog):
    """A table that was split anew, by column or by seed."""
    table = pd.read_csv(pretrained / "cohort" / "cohort.csv")
    seen = list(table.subject[table.split == "train"])
    table["split"] = table.split.map({"train": "test", "val": "val", "test": "train"})
    for name, own in (("before", table[~table.subject.isin(seen)]), ("anew", table)):
        own.to_csv(pretrained / "cohort" / f"{name}.csv", index=False)
        config = probe_export.get_config()
        config.data.csv, config.features.cache = f"{name}.csv", str(tmp_path / "cache")
        kinds = dict(step="newest", resume=False, base=base.get_config())
        prober.probe(config, str(pretrained / "run"), str(tmp_path / name), **kinds)
        said = [r.message for r in caplog.records if "trained the encoder too" in r.message]
        assert len(said) == (name == "anew")
    assert f'Patient "{min(seen)}" and {len(seen) - 1} more of the {len(seen)} test' in said[0]


def _record(kind: str, checkpoint="runs/a", step: int = 4, **data) -> ConfigDict:
    config = probe_base.get_config()
    config.kind = kind
    config.data.update_from_flattened_dict(data)
    return ConfigDict(config.to_dict() | {"checkpoint": checkpoint, "step": step})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(checkpoint="runs/b"), "checkpoint runs/a, step 4, not of checkpoint runs/b, step 4"),
        (dict(step=6), "a, step 4, not of checkpoint runs/a, step 6"),
        ({"root": "elsewhere"}, "knn probe with data.root = 'home', not 'elsewhere'"),
        ({"columns.times": "none"}, "data.columns.times = 't', not ''"),
        ({"split_seed": 3}, "data.split_seed = 0, not 3"),
    ],
)
def test_a_folder_holds_the_probes_of_one_checkpoint_and_cohort(given, words, tmp_path):
    data = base.get_config().data
    data.root, data.columns.times = "home", "t"
    run_folder.prepare(str(tmp_path), _record("knn"), "probe_knn.json")
    (tmp_path / "predictions_knn.npz").touch()
    for kind in ("knn", "linear"):
        with pytest.raises(UserError) as error:
            prober.refuse_mixture(str(tmp_path), _record(kind, **given), data)
        assert words in str(error.value) and "name another --workdir" in str(error.value)


def _refused(folder, record) -> str:
    try:
        prober.refuse_other(str(folder), record, base.get_config().data, resume=False)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "same", "other"),
    [
        ("linear", ("knn.ks", (3,)), ("linear.epochs", 7)),
        ("linear", ("features.cache", "elsewhere"), ("features.every", 2)),
        ("linear", ("features.batch_size", 8), ("bootstrap.samples", 7)),
        ("linear", ("augment.hflip", 1.0), ("fractions", (0.5,))),
        ("cox", ("hazard.bins", 3), ("survival.grid", 3)),
        ("hazard", ("cox.strengths", (1.0,)), ("survival.horizons", (9.0,))),
        ("export", ("temporal.windows", 3), ("export.frames", True)),
        ("temporal", ("ridge.strengths", (1.0,)), ("temporal.windows", 3)),
        ("finetune", ("survival.grid", 3), ("augment.hflip", 1.0)),
        ("supervised", ("linear.epochs", 7), ("finetune.epochs", 7)),
    ],
)
def test_a_probe_is_another_one_by_what_its_kind_reads(kind, same, other, tmp_path):
    run_folder.prepare(str(tmp_path), _record(kind), f"probe_{kind}.json")
    (tmp_path / f"checks_{kind}.json").touch()
    record = _record(kind)
    record.update_from_flattened_dict(dict([same]))
    assert _refused(tmp_path, record) == ""
    record.update_from_flattened_dict(dict([other]))
    assert other[0] in _refused(tmp_path, record)


def test_every_section_of_a_probe_is_of_all_kinds_or_of_some():
    common = {"data", "features", "bootstrap", "log"}
    found = {key.split(".")[0] for key, _ in settings.leaves(probe_base.get_config()) if "." in key}
    assert {name for kind in check.KINDS for name in check.sections(kind)} == found - common


def test_every_kind_of_probe_has_a_program_and_every_program_a_kind():
    programs = {*methods.FIT, "cls", *prober.PLANS, *check.UNCACHED}
    assert sorted(programs) == sorted(check.KINDS) and methods.READ.keys() < programs


RESULTS = ["predictions_knn.npz", "checks_knn.json", "results.csv"]


@pytest.mark.parametrize("left", [*RESULTS, "predictions_linear.npz"])
def test_a_probe_that_left_no_results_gives_way_to_a_corrected_command(left, tmp_path):
    run_folder.prepare(str(tmp_path), _record("knn", root="wrong"), "probe_knn.json")
    record = _record("knn", root="right")
    record.seeds = 3
    assert _refused(tmp_path, record) == ""
    row = dict.fromkeys(COLUMNS, "x") | {"probe": "knn"}
    row |= dict.fromkeys(("fraction", "value", "ci_low", "ci_high", "n"), 1)
    tables.write_results(tmp_path / "results.csv", [row] if left == "results.csv" else [], COLUMNS)
    (tmp_path / left).touch()
    assert ("holds a knn probe with data.root" in _refused(tmp_path, record)) == (left in RESULTS)
    # Of another kind it is known which cohort its rows will be of.
    assert "data.root" in _refused(tmp_path, _record("linear", root="right"))


def test_two_probes_of_one_kind_do_not_work_in_one_folder(pretrained, tmp_path):
    refused = pytest.raises(UserError, match="another run is at work there")
    with run_folder.lock(tmp_path, name=".probe_knn.lock"), refused:
        _probe(pretrained, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".probe_knn.lock"]


@pytest.mark.parametrize("resume", [False, True])
def test_the_folder_of_a_comparison_is_no_place_for_a_probe(resume, tmp_path):
    (tmp_path / run_folder.COMPARISON).write_text("{}")
    kinds = dict(step="newest", resume=resume, base=base.get_config())
    with pytest.raises(UserError, match="holds comparison.json, the results of another command"):
        prober.probe(probe_knn.get_config(), "runs/a", str(tmp_path), **kinds)
    assert [path.name for path in tmp_path.iterdir()] == [run_folder.COMPARISON]


@pytest.mark.parametrize("text", ["{}", "[1]", '{"checkpoint": 5, "step": 4, "data": {}}', "no"])
def test_a_damaged_record_of_a_probe_is_named(text, tmp_path):
    data = base.get_config().data
    (tmp_path / "probe_knn.json").write_text(text)
    with pytest.raises(UserError, match="probe_knn.json is not"):
        prober.refuse_mixture(str(tmp_path), _record("linear"), data)


def test_a_folder_takes_every_kind_of_probe_of_one_cohort(tmp_path):
    data = base.get_config().data
    run_folder.prepare(str(tmp_path), _record("knn"), "probe_knn.json")
    same = {"targets": ("EF:regression",), "columns.event": "died", "threads": 2}
    for kind in check.KINDS:
        prober.refuse_mixture(str(tmp_path), _record(kind, **same), data)
    for place in ("./runs/a", "runs/a/checkpoints", "runs/b/../a/checkpoints/"):
        prober.refuse_mixture(str(tmp_path), _record("linear", place, **same), data)
    prober.refuse_mixture(str(tmp_path / "new"), _record("linear", "runs/b"), data)


def test_a_probe_can_unmap_and_replace_whatever_pretraining_said_of_its_cohort():
    before, wanted = base.get_config().data, probe_base.get_config().data
    before.update_from_flattened_dict({
        "root": "home", "subject_csv": "s.csv", "columns.times": "t", "column_unit": "ms",
        "frame_interval": 0.04, "pixel_mm": 1.5, "split_seed": 7, "targets": ("EF:regression",),
    })  # fmt: skip
    assert prober.merge_data(before, wanted) == before
    no_more = {
        "columns.times": "none", "subject_csv": "none", "column_unit": "none",
        "frame_interval": -1.0, "pixel_mm": -1.0, "targets": ("none",),
    }  # fmt: skip
    wanted.update_from_flattened_dict(no_more)
    merged = dict(settings.leaves(prober.merge_data(before, wanted)))
    assert [merged[key] for key in no_more] == ["", "", "", 0.0, 0.0, ()]
    assert merged["split_seed"] == 7
    others = {
        "cohort": "b", "root": "r", "csv": "c", "column_unit": "s", "frame_interval": 0.1,
        "split_fractions": (0.5, 0.25, 0.25), "split_seed": 0, "pixel_mm": 1.0, "fit": "crop",
        "percentiles": (0.0, 100.0), "on_bad": "skip", "on_equal_times": "keep", "store": "s",
        "threads": 1, "targets": ("HR:regression",), "subject_csv": "x",
    } | {f"columns.{name}": name + "_" for name in before.columns}  # fmt: skip
    wanted.update_from_flattened_dict(others)
    merged = dict(settings.leaves(prober.merge_data(before, wanted)))
    assert {key: merged[key] for key in others} == others
    known = {key for key, _ in settings.leaves(wanted)} | {"workers"}
    held = {key for key, _ in settings.leaves(before) if not key.startswith("phantom.")}
    assert held == known, "a key of the data section cannot be set for a probe"


@pytest.mark.parametrize(
    ("key", "value"), [("pixel_mm", -2.0), ("on_bad", "never"), ("split_fractions", (0.5, 0.5))]
)
def test_a_data_key_that_makes_no_sense_is_named(key, value, pretrained, tmp_path):
    with pytest.raises(UserError, match=f"config.data.{key}"):
        _probe(pretrained, tmp_path / "probe", **{f"data__{key}": value})
    assert not (tmp_path / "probe").exists()


def test_a_checkpoint_with_mapped_times_probes_a_cohort_with_times_of_its_own(pretrained):
    restored = json.loads(settings.to_json(tiny.shrink(base.get_config(), pretrained / "cohort")))
    before, wanted = settings.from_json(json.dumps(restored)).data, probe_base.get_config().data
    before.columns.times = "no_such_column"
    with pytest.raises(UserError, match="no_such_column"):
        opening.open_cohort(prober.merge_data(before, wanted))
    wanted.columns.times = "none"
    assert len(opening.open_cohort(prober.merge_data(before, wanted)).series) == 32
