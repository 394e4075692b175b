"""A comparison from its command to its table, and what it refuses before the first cell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import careless
import numpy as np
import pandas as pd
import pytest
from comparisons import finish, small_plan
from conftest import ROOT

from configs import compare as presets
from tests import tiny
from tvrl_jax import settings
from tvrl_jax.comparison import comparer, runner
from tvrl_jax.comparison.plan import TRAIN
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder
from tvrl_jax.report import tables


def call(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tvrl_jax.compare", *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": careless.flags()},
        capture_output=True,
        text=True,
        timeout=1000,
    )


CONFIG = """
from pathlib import Path
from configs import compare
from tests import tiny

def get_config(root):
    c = compare.get_config("own")
    tiny.shrink(c.shared, Path(root))
    c.methods = ("tvrl", "cvrl", "csimclr")
    c.only.tvrl = {"model": {"temporal_heads": 5}}
    c.against = ("cvrl",)
    c.claimed = ("csimclr",)
    c.baselines = ("constant",)
    c.probe.fractions = (0.5, 1.0)
    c.probe.seeds = 2
    c.probe.features.cache = root + "/features"
    c.bootstrap.samples = 50
    return c
"""


@pytest.mark.timeout(1800)  # eight processes, on however busy a machine
def test_methods_are_compared_one_fails_and_nothing_is_done_twice(tmp_path, known):
    tiny.write_cohort(tmp_path / "data", subjects=32)
    (tmp_path / "own.py").write_text(CONFIG)
    out = tmp_path / "out"
    flags = (f"--config={tmp_path}/own.py:{tmp_path}/data", f"--workdir={out}")
    result = call(*flags, "--jobs=2")
    assert result.returncode == 1, result.stderr
    assert "tvrl seed 0 pretrain: model.temporal_heads = 5 does not divide" in result.stdout
    assert "tvrl seed 0 linear: its pretraining failed" in result.stdout
    text = (out / "table.md").read_text()
    assert "| CVRL |" in text and "| cSimCLR |" in text and "| constant predictor |" in text
    assert "temporal_heads = 5" in text and (out / "report.html").is_file()
    rows = tables.read_results(out / "results.csv")
    assert {"cvrl", "csimclr", "constant", "csimclr - cvrl"} <= {row["method"] for row in rows}

    # What ran is what was planned.
    spec = {}
    exec(CONFIG, spec)
    planned = small_plan(spec["get_config"](str(tmp_path / "data")), out, known)
    cell = next(c for c in planned.cells if (c.method, c.kind) == ("cvrl", TRAIN))
    held = run_folder.read(cell.folder)
    assert settings.to_json(held) == settings.to_json(planned.pretraining["cvrl"])

    files = [path for path in (out / "cells" / "cvrl").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert any("checkpoints" in str(path) for path in before)
    result = call(*flags, "--config.methods=('cvrl','csimclr')")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("done before") == 4
    files = [path for path in (out / "cells" / "cvrl").rglob("*") if path.is_file()]
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_another_comparison_is_not_mixed_in_but_methods_seeds_and_probes_may_be_added(tmp_path):
    config = presets.get_config("phantom_cardiac")
    run_folder.prepare(str(tmp_path), comparer.identity(config), comparer.CONFIG)

    def refuse(**options):
        record = comparer.identity(config)
        run_folder.refuse_other(str(tmp_path), record, name=comparer.CONFIG, **options)

    config.methods, config.seeds, config.probes = ("tvrl",), (0, 1), ("linear", "knn")
    config.shared.data.threads = 9
    refuse(resume=False)
    for key, value in {"only.videomae.model.patch_size": 4, "probe.seeds": 3}.items():
        before = config.copy_and_resolve_references()
        config.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=key):
            refuse(resume=False)
        refuse(resume=True)
        config = before
    config.shared.optim.lr = 1.0
    with pytest.raises(UserError, match="holds a run with optim.lr"):
        refuse(resume=False)


def never_run(monkeypatch) -> None:
    def run(*_, **__):
        raise AssertionError("a cell was run")

    monkeypatch.setattr(runner, "run", run)


@pytest.mark.parametrize("left", ["probe_knn.json", "config.json", "checkpoints/1", "results.csv"])
@pytest.mark.parametrize("resume", [False, True])
def test_the_results_of_another_command_are_left_alone(left, resume, known, tmp_path, monkeypatch):
    never_run(monkeypatch)
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    config = presets.get_config("phantom_cardiac")
    with pytest.raises(UserError, match=f"holds {left}, the results of another command; name a"):
        comparer.compare(config, str(tmp_path), presets=known, command="", resume=resume)
    assert sorted(tmp_path.rglob("*")) == before


def test_who_is_refused_by_the_lock_has_changed_nothing(known, tmp_path, monkeypatch):
    never_run(monkeypatch)
    config, out = dated(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(AssertionError, match="a cell was run"):
        comparer.compare(config, str(out), presets=known, command="")
    before = (out / comparer.CONFIG).read_text()
    config.shared.optim.lr = 0.005
    with (
        run_folder.lock(out, inherited=True),
        pytest.raises(UserError, match="is at work there"),
    ):
        comparer.compare(config, str(out), presets=known, command="", resume=True)
    assert (out / comparer.CONFIG).read_text() == before


def dated(root: Path):
    """A comparison on a cohort with events, in days: 110 is the first of a test patient."""
    tiny.write_cohort(root, subjects=32)
    table = pd.read_csv(root / "cohort.csv")
    table["still"] = 1
    table["dead"], table["days"] = (np.arange(32) // 4) % 2, 100 + 10 * (np.arange(32) // 4)
    table.to_csv(root / "cohort.csv", index=False)
    config = presets.get_config("own")
    tiny.shrink(config.shared, root)
    config.shared.data.columns.update(event="dead", duration="days")
    config.methods, config.probes = ("csimclr",), ("linear", "cox")
    config.probe.fractions = (0.5, 1.0)
    config.probe.survival.horizons = (120, 150)
    return config


def refused_for(changes: dict, known, tmp_path: Path) -> str:
    """What a comparison that would run its cells says of these changes; it writes nothing then."""
    config = dated(tmp_path / "data")
    with pytest.raises(AssertionError, match="a cell was run"):
        comparer.compare(config, str(tmp_path / "good"), presets=known, command="")
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError) as caught:
        comparer.compare(config, str(tmp_path / "bad"), presets=known, command="")
    assert not (tmp_path / "bad").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"probe.survival.horizons": (1.0, 2.0)},
            ["config.probe.survival.horizons holds 1,", "110"],
        ),
        ({"probe.survival.horizons": (500,)}, ["config.probe.survival.horizons holds 500", "169"]),
        ({"probe.survival.tau": 105.0}, ["config.probe.survival.tau = 105", "greater"]),
        ({"probe.survival.grid": 0}, ["config.survival.grid = 0 must be at least 1"]),
        (
            {"probe.fractions": (0.01,)},
            ["config.probe.fractions holds 0.01", "--config.probe.frac"],
        ),
        ({"shared.data.targets": ("radios:regression",)}, ['"radios"', '"radius"']),
        ({"shared.data.targets": ("dead:regressio",)}, ["shared.data.targets has ", "regression"]),
        ({"shared.data.targets": ("radios:regression",)}, ["(shared.data.targets)"]),
        ({"probe.data.columns.split": "splitt"}, ["(probe.data.columns.split)", '"split"']),
        ({"shared.data.columns.subject": "subjekt"}, ["(shared.data.columns.subject)"]),
        (
            {"shared.data.targets": ("still:regression",)},
            ['"still" holds only', "config.shared.data.targets", "(shared.data.columns.split or"],
        ),
        ({"shared.data.columns.event": "rate"}, ["row 2", "must be 1 (observed) or 0"]),
        ({"shared.data.columns.event": "daed"}, ['"daed"', "dead"]),
    ],
)
def test_what_the_table_does_not_allow_is_found_before_the_first_cell(
    changes, words, known, tmp_path, monkeypatch
):
    never_run(monkeypatch)
    said = refused_for(changes, known, tmp_path)
    for word in words:
        assert word in said, said
    own = re.findall(r"(\S*)data\.(?:targets|columns|on_bad|split)", said)
    assert all(before.endswith(("shared.", "probe.")) for before in own), said


def test_horizons_are_those_of_the_survival_probes_alone(known, tmp_path):
    config = dated(tmp_path / "data")
    flag = "--config.survival.horizons=(120, 150)"
    cells = {cell.kind: cell for cell in small_plan(config, tmp_path / "x", known).cells}
    assert flag in cells["cox"].arguments
    assert not [a for a in cells["linear"].arguments if "survival" in a]
    for name, value in settings.leaves(presets.get_config().probe.survival):
        assert dict(settings.leaves(known.probe("cox").survival))[name] == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shared.data.csv", "absent.csv"),
        ("shared.data.root", "/absent"),
        ("probe.data.csv", "absent.csv"),
        ("probe.data.root", "/absent"),
    ],
)
def test_a_table_that_is_missing_is_found_before_the_first_cell(
    key, value, known, tmp_path, monkeypatch
):
    never_run(monkeypatch)
    said = refused_for({key: value}, known, tmp_path)
    assert said.startswith(f"config.{key.rpartition('.')[0]}: ")
    assert "absent" in said and "does not exist" in said


def test_a_table_is_not_missed_where_all_is_done_or_it_is_written_first(known, tmp_path):
    config = presets.get_config("phantom_cardiac")
    config.shared.data.root = str(tmp_path / "absent")
    comparer.check_tables(comparer.to_read(small_plan(config, tmp_path / "new", known), known))
    config.probe.data.root, config.probe.data.csv = str(tmp_path / "gone"), "cohort.csv"
    planned = small_plan(config, tmp_path / "done", known)
    with pytest.raises(UserError, match="config.probe.data: "):
        comparer.check_tables(comparer.to_read(planned, known))
    for cell in planned.cells:
        finish(cell)
    comparer.check_tables(comparer.to_read(planned, known))


@pytest.mark.parametrize(("jobs", "times"), [(1, 0), (3, 1)])
def test_side_by_side_the_images_are_decoded_once_and_before(
    jobs, times, known, tmp_path, monkeypatch
):
    never_run(monkeypatch)
    opened = []
    monkeypatch.setattr(comparer.opening, "open_cohort", lambda data: opened.append(data.root))
    config = dated(tmp_path / "data")
    with pytest.raises(AssertionError, match="a cell was run"):
        comparer.compare(config, str(tmp_path / "x"), presets=known, command="", jobs=jobs)
    assert opened == [config.shared.data.root] * times


def test_what_is_odd_in_a_table_is_said_once_for_all_probes(known, tmp_path, caplog):
    config = dated(tmp_path / "data")
    config.shared.data.columns.split = ""
    config.probes = ("linear", "knn")
    comparer.check_tables(comparer.to_read(small_plan(config, tmp_path / "new", known), known))
    assert caplog.text.count('column "split" is not used') == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["--config is missing"]),
        (
            ("--config=configs/compare.py:phantom_cardiacs",),
            ["phantom_cardiacs", "phantom_cardiac"],
        ),
        (("--config=configs/compare.py", "--config.shared.optim.lrr=1"), ["shared.optim.lr"]),
        (("--config=configs/compare.py", "--config.methods=('tvlr',)"), ["tvlr", "tvrl"]),
    ],
)
def test_mistakes_are_answered_with_a_sentence(arguments, words, tmp_path):
    if arguments:
        arguments = (*arguments, f"--workdir={tmp_path}/x")
    result = call(*arguments)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 2 and len(lines) == 1 and "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert not (tmp_path / "x").exists()


def test_help_reads_like_help():
    result = call("--help")
    assert result.returncode == 0 and "Traceback" not in result.stderr
    for word in ("--workdir", "--config.methods=", "--config.shared.", "--config.probe.fractions="):
        assert word in result.stdout
