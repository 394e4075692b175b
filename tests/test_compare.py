"""Methods differ in what makes them alone, cells fail alone, and nothing is run twice."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import careless
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from matplotlib.figure import Figure
from scipy.stats import t as student

from configs import cohorts
from configs import compare as presets
from tests import tiny
from tvrl_jax import compare as command
from tvrl_jax import run_folder, settings, shell
from tvrl_jax.comparison import (
    board,
    claims,
    collect,
    comparer,
    faults,
    figures,
    machine,
    markdown,
    page,
    plan,
    record,
    runner,
    summary,
)
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan
from tvrl_jax.comparison.record import Record
from tvrl_jax.errors import UserError
from tvrl_jax.probing import cache, intervals, paired, predictions, stats
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.tasks import Task
from tvrl_jax.report import alarms, style, tables
from tvrl_jax.report.alarms import Check
from tvrl_jax.results import ALL, COLUMNS


@pytest.fixture(scope="module")
def known():
    return command.presets()


def small_plan(config, folder, known) -> Plan:
    return plan.make(config, Path(folder), known)


# What a method's configuration is


@pytest.mark.parametrize("cohort", sorted(cohorts.PRESETS))
def test_methods_differ_only_in_what_makes_them(cohort, known, tmp_path):
    config = presets.get_config(cohort)
    config.shared.data.targets = config.shared.data.targets or ("label:regression",)
    trained = small_plan(config, tmp_path, known).pretraining
    allowed = {key for only in config.only.values() for key, _ in settings.leaves(only)}
    for key in plan.differing(trained):
        assert plan.inherent(config, key) or key in allowed, key
    assert set(trained) == set(config.methods) and len(trained) == 7
    for key in ("augment", "optim", "train", "data", "log"):
        assert len({str(one[key]) for one in trained.values()}) == 1, key


def test_each_method_keeps_what_makes_it(known, tmp_path):
    config = presets.get_config("phantom_cardiac")
    trained = small_plan(config, tmp_path, known).pretraining
    for name, one in trained.items():
        own = known.method(name, "phantom_cardiac")
        if name == "tvrl":  # hides frames from no comparison, as the others
            own.objective.masked_contrast = False
        assert one.objective == own.objective and one.method == name
        assert one.clips.windows == own.clips.windows == (2 if name in ("cvrl", "ltn") else 1)
        assert one.model.time_embedding == own.model.time_embedding
        assert one.model.arch == "micro" and one.train.steps == config.shared.train.steps
    assert trained["videomae"].model.stem == "patch"
    assert trained["videomae"].model.patch_size == 8 and trained["tvrl"].model.patch_size == 16


def test_flags_are_the_whole_difference_from_the_methods_own_file(known, tmp_path):
    planned = small_plan(presets.get_config("phantom_cardiac"), tmp_path, known)
    cell = next(c for c in planned.cells if c.method == "videomae" and c.kind == TRAIN)
    made = dict(settings.leaves(known.method("videomae", "phantom_cardiac")))
    for flag in cell.arguments[2:-1]:
        key, value = flag.removeprefix("--config.").split("=", 1)
        assert str(made[key]) != value
        made[key] = value
    wanted = dict(settings.leaves(planned.pretraining["videomae"]))
    assert {k: str(v) for k, v in made.items()} == {k: str(v) for k, v in wanted.items()}


def test_untrained_is_measured_once_for_each_architecture(known, tmp_path):
    config = presets.get_config("phantom_cardiac")
    config.seeds = (3, 4)
    planned = small_plan(config, tmp_path, known)
    lent = [(c.method, c.seed) for c in planned.cells if "untrained" in c.baselines]
    assert lent == [("cvrl", 3), ("videomae", 3), ("csimclr_te", 3)]
    assert collect.names(planned)[-4:] == [
        "untrained (cvrl)",
        "untrained (videomae)",
        "untrained (csimclr_te)",
        "constant",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(methods=("cvlr",)), ["config.methods", "cvlr", "cvrl"]),
        (lambda c: c.update(methods=()), ["config.methods", "empty"]),
        (lambda c: c.update(methods=("cvrl", "cvrl")), ["twice"]),
        (lambda c: c.update(seeds=()), ["config.seeds", "empty"]),
        (lambda c: c.update(seeds=(-1,)), ["config.seeds", "-1"]),
        (lambda c: c.update(seeds=(0, 99999999999)), ["config.seeds", "99999999999", "2^32"]),
        (lambda c: c.update(seeds=(0, True)), ["config.seeds", "True"]),
        (lambda c: c.update(baselines=("constant",) * 2), ["config.baselines", "twice"]),
        (lambda c: c.update(claimed=("tvrl",) * 2), ["config.claimed", "twice"]),
        (lambda c: c.bootstrap.update(samples=0), ["config.bootstrap.samples = 0", "at least 1"]),
        (lambda c: c.bootstrap.update(samples=10**12), ["config.bootstrap.samples", "1000000"]),
        (lambda c: c.bootstrap.update(seed=-1), ["config.bootstrap.seed = -1", "0 or more"]),
        (lambda c: c.update(probes=("liner",)), ["config.probes", "liner", "linear"]),
        (lambda c: c.update(probes=("supervised",)), ["config.probes", "supervised"]),
        (lambda c: c.update(probes=("linear", "cls")), ['"cls"', '"videomae" is joint']),
        (lambda c: c.update(baselines=("chance",)), ["config.baselines", "chance"]),
        (lambda c: c.only.update({"tvlr": {}}), ["config.only", "tvlr", "tvrl"]),
        (lambda c: c.only.update({"tvrl": {"optim": {"lrr": 1.0}}}), ["only.tvrl", "optim.lr"]),
        (lambda c: c.only.update({"tvrl": {"optim": {"lr": "x"}}}), ["only.tvrl.optim.lr", "'x'"]),
        (lambda c: c.only.update({"tvrl": {"optim": {"lr": float("nan")}}}), ["optim.lr"]),
        (lambda c: c.probe.update({"fraction": (1.0,)}), ["config.probe", "fractions"]),
        (lambda c: c.shared.optim.update(lr=-1.0), ["optim.lr", "greater than 0"]),
        (lambda c: c.shared.optim.update(accumulate=10**6), ["optim.accumulate", "train.steps"]),
        (lambda c: c.only.update({"cvrl": {"clips": {"windows": 1}}}), ['method "cvrl" takes 2']),
        (lambda c: c.probe.update(fractions=()), ["config.fractions is empty"]),
        (lambda c: c.shared.data.update(targets=()), ["shared.data.targets", '"linear"']),
        (lambda c: c.update(probes=("cox",)), ["shared.data.columns.event", '"cox"']),
    ],
)
def test_mistakes_are_found_before_anything_runs(change, words, known, tmp_path):
    config = presets.get_config("phantom_cardiac").unlock()
    change(config)
    with pytest.raises(UserError) as caught:
        small_plan(config, tmp_path / "x", known)
    for word in words:
        assert word in str(caught.value), caught.value
    assert not (tmp_path / "x").exists()


# Running cells: the scripts stand for train.py and probe.py


def scripted(folder: Path, scripts: dict[str, tuple[str, str]]) -> Plan:
    """A plan of two cells per method; a script is Python that finds its folder in `argv[1]`."""
    folder.mkdir(exist_ok=True)
    cells = []
    for method, pair in scripts.items():
        for kind, text in zip((TRAIN, "linear"), pair, strict=True):
            script = folder / f"{method}_{kind}.py"
            script.write_text(
                "import os, signal, sys, time\n"
                "def make():\n"
                "    os.makedirs(sys.argv[1], exist_ok=True)\n"
                "    open(sys.argv[1] + '/ran', 'a').write('x')\n"
                f"    open(sys.argv[1] + '/{predictions.place('', kind)}', 'w').close()\n" + text
            )
            place = folder / "cells" / method / "seed0" / (TRAIN if kind == TRAIN else "probe")
            cells.append(Cell(method, 0, kind, place, (str(script), str(place))))
    return Plan(presets.get_config(), folder, {}, tuple(cells))


def run(planned: Plan, jobs: int = 1) -> tuple[list[str], str]:
    """Names of the cells that failed, and what was said."""
    said = io.StringIO()
    failed = runner.run(planned, board.Board(planned.cells, stream=said, jobs=jobs), jobs=jobs)
    return [cell.name for cell in failed], said.getvalue()


def finish(cell: Cell) -> None:
    """As if it had been run."""
    cell.folder.mkdir(parents=True)
    record.write(cell, Record(cell.arguments, 0, "", 1.0, 0.0))
    if cell.kind != TRAIN:
        predictions.place(cell.folder, cell.kind).touch()


def ran(planned: Plan) -> list[int]:
    return [len((c.folder / "ran").read_text()) for c in planned.cells if c.folder.is_dir()]


def test_a_failed_cell_stops_its_own_probe_alone_and_is_tried_again(tmp_path):
    broken = "print('step 1')\nprint('error: the rate is too high.', file=sys.stderr)\nsys.exit(2)"
    planned = scripted(tmp_path, {"a": (broken, "make()"), "b": ("make()", "make()")})
    failed, said = run(planned)
    assert failed == ["a seed 0 pretrain", "a seed 0 linear"] and ran(planned) == [1, 1]
    assert "failed: the rate is too high." in said and "[4/4] b seed 0 linear: done in" in said
    lines = faults.undone(planned)
    assert len(lines) == 2 and "the rate is too high" in lines[0] and "pretraining" in lines[1]
    assert str(record.log_of(planned.cells[0])) in lines[0]
    assert ".log" not in lines[1]  # it was not begun, and wrote none

    Path(planned.cells[0].arguments[0]).write_text(
        "import os, sys\nos.makedirs(sys.argv[1])\nopen(sys.argv[1] + '/ran', 'a').write('x')"
    )
    failed, said = run(planned)
    assert not failed and ran(planned) == [1, 1, 1, 1]
    assert said.count("done before") == 2 and not faults.undone(planned)


def test_a_finished_comparison_runs_nothing_and_a_new_pretraining_is_probed_anew(tmp_path):
    planned = scripted(tmp_path, {"a": ("make()", "make()"), "b": ("make()", "make()")})
    assert run(planned)[0] == []
    assert run(planned)[1].count("done before") == 4 and ran(planned) == [1, 1, 1, 1]
    record.place(planned.cells[0]).unlink()
    assert run(planned)[1].count("done before") == 2
    assert ran(planned) == [2, 1, 1, 1]  # the pretraining went on in its folder; the probe is new
    other = planned.cells[3]._replace(arguments=(*planned.cells[3].arguments, "--more"))
    changed = planned._replace(cells=(*planned.cells[:3], other))
    assert run(changed)[1].count("done before") == 3


def test_the_cost_of_a_pretraining_that_goes_on_with_more_steps_is_that_of_all(tmp_path):
    planned = scripted(tmp_path, {"a": ("make()", "make()")})
    assert run(planned)[0] == []
    train, probe = planned.cells
    for cell in planned.cells:
        record.write(cell, record.read(cell)._replace(seconds=3600.0))
    longer = train._replace(arguments=(*train.arguments, "--config.train.steps=9"))
    planned = planned._replace(cells=(longer, probe))
    runner.run(planned, board.Board(planned.cells, stream=io.StringIO()), resume=True)
    assert ran(planned) == [2, 1]
    assert record.read(longer).seconds > 3600 > 600 > record.read(probe).seconds


def test_cells_find_their_configuration_from_any_folder(known, tmp_path, monkeypatch):
    reader = "path = sys.argv[2].removeprefix('--config=').split(':')[0]\nopen(path)\nmake()"
    planned = scripted(tmp_path, {"a": (reader, reader)})
    cells = [
        cell._replace(arguments=(*cell.arguments, f"--config=configs/{name}"))
        for cell, name in zip(planned.cells, ("tvrl.py:x", "probe_linear.py"), strict=True)
    ]
    planned = planned._replace(cells=tuple(cells))
    monkeypatch.chdir(tmp_path)
    assert run(planned)[0] == [] and ran(planned) == [1, 1]
    # It is the same comparison from wherever it is started.
    assert [record.read(cell).arguments for cell in cells] == [cell.arguments for cell in cells]
    monkeypatch.chdir(ROOT)
    assert run(planned)[1].count("done before") == 2
    for cell in small_plan(presets.get_config("phantom_cardiac"), tmp_path, known).cells:
        assert runner.from_here(cell.arguments) == cell.arguments


@pytest.mark.parametrize(
    "wrong",
    [
        {"ended": "x"},
        {"seconds": "x"},
        {"seconds": float("nan")},
        {"seconds": 10**400},
        {"arguments": [1, 2]},
        {"arguments": "ab"},
        {"code": "0"},
        {"reason": 3},
        {"ended": None},
    ],
)
def test_a_record_of_other_types_is_as_good_as_none(wrong, tmp_path):
    planned = scripted(tmp_path, {"a": ("make()", "make()")})
    assert run(planned)[0] == []
    assert all(record.is_done(planned, cell) for cell in planned.cells)
    for cell in planned.cells:
        held = json.loads(record.place(cell).read_text())
        record.place(cell).write_text(json.dumps(held | wrong))
        assert record.read(cell) is None
    assert len(faults.undone(planned)) == 2 and not summary.cost(planned).rows
    assert run(planned)[0] == [] and ran(planned) == [2, 1]


def test_a_probe_whose_predictions_are_gone_is_run_again(tmp_path):
    planned = scripted(tmp_path, {"a": ("make()", "make()")})
    assert run(planned)[0] == []
    probe = planned.cells[1]
    predictions.place(probe.folder, probe.kind).unlink()
    assert [record.is_done(planned, cell) for cell in planned.cells] == [True, False]
    assert run(planned)[0] == []
    assert all(record.is_done(planned, cell) for cell in planned.cells)


def test_a_comparison_that_was_moved_is_done_and_one_that_is_probed_elsewhere_is_not(
    known, tmp_path
):
    config = presets.get_config("phantom_cardiac")
    config.methods = ("tvrl",)
    planned = small_plan(config, tmp_path / "here", known)
    for cell in planned.cells:
        finish(cell)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = small_plan(config, tmp_path / "there", known)
    assert [record.is_done(moved, cell) for cell in moved.cells] == [True, True]
    assert faults.undone(moved) == []
    config.probe.data.csv = "external.csv"
    abroad = small_plan(config, tmp_path / "there", known)
    assert [record.is_done(abroad, cell) for cell in abroad.cells] == [True, False]
    assert "--config.data.csv=external.csv" in abroad.cells[1].arguments


def test_what_a_probe_warns_of_stands_above_the_table(known, tmp_path):
    config = presets.get_config("phantom_cardiac")
    config.methods, config.shared.data.cohort = ("tvrl",), "clinic"
    planned = small_plan(config, tmp_path, known)
    leak = Check("leak", "The images of 4 test patients trained the encoder too.", "4 of 6")
    for cell in planned.cells:
        finish(cell)
    (planned.cells[0].folder / "metrics.jsonl").touch()
    alarms.save(planned.cells[1].folder, "linear", [leak, Check("nothing found", "", "none")])
    results = summary.gather([])
    said = f"tvrl seed 0 linear: {leak.alarm}"
    told = [("command", "python")], faults.find(planned, results)
    text = markdown.text(planned, results, *told)
    page.write(tmp_path / "report.html", planned, results, *told)
    for made in (text, (tmp_path / "report.html").read_text()):
        assert said in made and "Methods on clinic" in made and "nothing found" not in made
    (planned.cells[1].folder / "checks_linear.json").write_text("[{}]")
    (damaged,) = faults.raised(planned, results)
    assert damaged.startswith("tvrl seed 0 linear: ") and "is damaged" in damaged
    record.write(planned.cells[1], Record(planned.cells[1].arguments, 1, "no", 1.0, 0.0))
    assert faults.raised(planned, results) == []
    config.probe.data.cohort = "abroad"
    assert small_plan(config, tmp_path, known).cohort == "abroad"


def test_a_killed_process_and_a_crash_are_named_as_what_they_are(tmp_path):
    killed = "os.kill(os.getpid(), signal.SIGKILL)"
    planned = scripted(tmp_path, {"a": (killed, ""), "b": ("raise ValueError('seven')", "")})
    _, said = run(planned)
    assert "ended by signal 9 (SIGKILL)" in said and "ValueError: seven" in said


# Waits for the other method's cell of this kind to begin; 3: it was alone.
MEETING = """make()
other = sys.argv[1].replace('/a/', '/?/').replace('/b/', '/a/').replace('/?/', '/b/')
for _ in range(600):
    if os.path.exists(other + '/ran'): sys.exit(0)
    time.sleep(0.05)
sys.exit(3)
"""


def test_jobs_run_cells_at_once_and_a_probe_after_its_pretraining(tmp_path):
    scripts = {"a": (MEETING, MEETING), "b": (MEETING, MEETING)}
    failed, said = run(scripted(tmp_path, scripts), jobs=2)
    assert not failed and said.count("done in") == 4
    assert said.index("a seed 0 pretrain: done") < said.index("a seed 0 linear ...")


def test_more_jobs_than_cells_and_a_failure_among_them(tmp_path):
    planned = scripted(tmp_path, {"a": ("sys.exit(2)", "make()"), "b": ("make()", "make()")})
    failed, _ = run(planned, jobs=9)
    assert failed == ["a seed 0 pretrain", "a seed 0 linear"] and ran(planned) == [1, 1]
    assert run(planned, jobs=9)[1].count("done before") == 2


def test_cells_side_by_side_share_an_accelerators_memory(tmp_path):
    script = "make()\nprint('memory', os.environ.get('XLA_PYTHON_CLIENT_PREALLOCATE'))"
    for jobs, said in ((1, "memory None"), (2, "memory false")):
        planned = scripted(tmp_path / str(jobs), {"a": (script, "make()")})
        assert not run(planned, jobs=jobs)[0]
        assert said in record.log_of(planned.cells[0]).read_text()


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_signal_reaches_the_running_cells_and_the_rest_waits(tmp_path, jobs):
    sleeper = (
        "def stop(number, frame):\n"
        "    open(sys.argv[1] + '/saved', 'w').close()\n"
        "    sys.exit(128 + number)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "make()\n"
        "while True: time.sleep(0.05)\n"
    )
    planned = scripted(tmp_path, {name: (sleeper, "make()") for name in "abcd"})
    running = [cell.folder for cell in planned.cells if cell.kind == TRAIN][:jobs]

    def interrupt():
        while not all((folder / "ran").exists() for folder in running):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    said = io.StringIO()
    with pytest.raises(SystemExit) as caught:
        runner.run(planned, board.Board(planned.cells, stream=said), jobs=jobs)
    thread.join()
    assert caught.value.code == 128 + signal.SIGINT and "failed" not in said.getvalue()
    assert said.getvalue().endswith("stopped; the same command goes on from here\n")
    assert all((folder / "saved").exists() for folder in running) and ran(planned) == [1] * jobs
    assert record.read(planned.cells[0]).code == 130 and not record.is_done(
        planned, planned.cells[0]
    )


@pytest.mark.parametrize("argument", ["a", "--x=('a','b')", "it's $HOME", 'say "no"', "b c", ""])
def test_a_command_that_is_shown_is_the_one_that_ran(argument):
    line = shell.join(["python", argument, "c"])
    assert shlex.split(line) == ["python", argument, "c"]
    assert '"\'"' not in line or "$" in line


def test_the_reason_is_that_of_the_last_attempt(tmp_path):
    (tmp_path / "log").write_text(
        "$ python train.py --workdir=x\nerror: the disk is full.\n"
        "$ python train.py --workdir=x\nTraceback (most recent call last):\nValueError: seven\n"
    )
    assert record.reason(tmp_path / "log", 1) == "ValueError: seven"
    (tmp_path / "log").write_text("$ python probe.py --workdir=x\n")
    assert record.reason(tmp_path / "log", 1) == "it ended without a word"


def test_a_cell_that_outlives_its_comparison_keeps_others_out(tmp_path):
    refused = pytest.raises(UserError, match="another run, or the cell .* killed, is at work there")
    with run_folder.lock(tmp_path, inherited=True):
        cell = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        with refused, run_folder.lock(tmp_path, inherited=True):
            pass
    finally:
        cell.kill()
        cell.wait()
    with run_folder.lock(tmp_path, inherited=True):
        pass


def test_the_remaining_time_is_that_of_the_like(tmp_path):
    planned = scripted(tmp_path, {name: ("", "") for name in "abc"})
    now = [0.0]
    said = io.StringIO()
    shown = board.Board(planned.cells, stream=said, clock=lambda: now[0])
    assert shown.remaining() is None
    for cell, seconds in zip(planned.cells, (100, 10, 300), strict=False):
        cell.folder.parent.mkdir(parents=True, exist_ok=True)
        shown.begun(cell, record.log_of(cell))
        now[0] += seconds
        shown.ended(cell, Record(cell.arguments, 0, "", seconds, now[0]))
    assert shown.remaining() == 10 + 200 + 10  # mean pretraining 200, mean probe 10
    shown.begun(planned.cells[3], record.log_of(planned.cells[3]))
    now[0] += 4
    assert shown.remaining() == 216
    shown.begun(planned.cells[4], record.log_of(planned.cells[4]))
    assert "[5/6] c seed 0 pretrain ..." in said.getvalue()


# Collecting


PATIENTS = 24
TASKS = (
    Task("ef", "regression", (), np.float32([50, 60, 55, 40, 70, 65, 45, 58] * 3)),
    Task("cad", "classification", ("no", "yes"), np.float32([0, 1, 0, 1, 1, 0, 0, 1] * 3)),
    Task("af", "classification", ("no", "yes"), np.float32([0, 1, 0, 0, 1, 0, 0, 1] * 3)),  # few
)


def leave_predictions(cell: Cell, rng: np.random.Generator) -> None:
    """What a finished probe with two seeds would leave, and its record."""
    arrays = {"probe": "linear", "method": cell.method, "cohort": "x"}
    arrays = {name: np.array(text) for name, text in arrays.items()}
    arrays["series"] = arrays["patient"] = np.array([f"p{i}" for i in range(PATIENTS)])
    arrays |= predictions.of_tasks(TASKS, np.arange(PATIENTS))
    for method in (cell.method, *cell.baselines):
        made = [_prediction(task, seed, rng) for task in TASKS for seed in (0, 1)]
        arrays |= predictions.of_method(method, made)
    cache.write(predictions.place(cell.folder, "linear"), arrays)
    record.write(cell, Record(cell.arguments, 0, "", 1.0, time.time()))


def _prediction(task: Task, seed: int, rng: np.random.Generator) -> Prediction:
    value_N = task.value_N + rng.normal(0, 5 if not task.classes else 0.7, PATIENTS)
    output_NK = value_N[:, None] if not task.classes else np.stack([1 - value_N, value_N], 1)
    return Prediction(Draw(task, 1.0, seed, np.zeros(0, bool)), output_NK.astype(np.float32), {})


@pytest.fixture(scope="module")
def collected(known, tmp_path_factory):
    return measured((0, 1), tmp_path_factory.mktemp("collected"), known)


@pytest.fixture(scope="module")
def thrice(known, tmp_path_factory):
    return measured((0, 1, 2), tmp_path_factory.mktemp("thrice"), known)


def measured(seeds: tuple[int, ...], folder: Path, known) -> tuple[Plan, list[dict]]:
    """A finished comparison of three methods, and its rows."""
    config = presets.get_config("phantom_cardiac")
    config.methods, config.seeds = ("cvrl", "ltn", "tvrl"), seeds
    config.bootstrap.samples = 300
    planned = small_plan(config, folder, known)
    rng = np.random.default_rng(0)
    for cell in planned.cells:
        cell.folder.mkdir(parents=True)
        if cell.kind == TRAIN:
            record.write(cell, Record(cell.arguments, 0, "", 60.0, 0.0))
            log = [json.dumps({"step": s, "loss": 1.0, "steps_per_second": 2.0}) for s in range(3)]
            (cell.folder / "metrics.jsonl").write_text("\n".join(log) + "\n")
        else:
            leave_predictions(cell, rng)
    return planned, collect.result_rows(planned, collect.columns(planned))


def cells_of(planned: Plan, method: str) -> list[Cell]:
    return [c for c in planned.cells if c.method == method and c.kind == "linear"]


def test_a_score_is_the_mean_over_pretraining_seeds_and_its_spread_is_shown(collected):
    planned, made = collected
    wanted = [
        next(
            s.interval.value
            for s in paired.scores(paired.load(c.folder, "linear"), samples=9, seed=0)
            if (s.task.column, s.metric, s.seed) == ("ef", "r2", ALL)
        )
        for c in cells_of(planned, "tvrl")
    ]
    row = summary.gather(made).find("tvrl", "ef", summary.Setting("linear", 1.0), "r2")
    assert row["value"] == pytest.approx(np.mean(wanted))
    assert row["spread"] == pytest.approx(np.std(wanted, ddof=1)) and row["spread"] > 0
    assert row["ci_low"] < row["value"] < row["ci_high"] and row["n"] == PATIENTS
    single = [r for r in made if r["method"] == "tvrl" and r["pretraining_seed"] == 1]
    assert {r["seed"] for r in single} == {0, 1, ALL}
    assert not {r["method"] for r in made if r["pretraining_seed"] == 1} & {"constant"}


def test_differences_are_those_of_the_means_on_the_same_patients(collected):
    planned, made = collected
    per_method = {}
    for method in ("tvrl", "ltn"):
        per_seed = [
            paired.scores(paired.load(c.folder, "linear"), **planned.config.bootstrap)
            for c in cells_of(planned, method)
        ]
        alike = zip(*per_seed, strict=True)
        own = next(g for g in alike if (g[0].metric, g[0].seed) == ("auroc", ALL))
        drawn_S = np.mean([list(s.draws.values()) for s in own], 0)
        per_method[method] = np.mean([s.sample_R for s in own], 0), drawn_S
    gap_R, gap_S = (a - b for a, b in zip(*per_method.values(), strict=True))
    low, high = np.percentile(gap_R[np.isfinite(gap_R)], intervals.MIDDLE)
    errors = [(high - low) ** 2 / 4, np.var(gap_S, ddof=1) / len(gap_S)]
    at = summary.Setting("linear", 1.0)
    row = summary.gather(made).find("tvrl - ltn", "cad", at, "auroc")
    freedoms = own[0].per_class - 1, len(gap_S) - 1
    freedom = sum(errors) ** 2 / sum(e**2 / f for e, f in zip(errors, freedoms, strict=True))
    half = student.ppf(0.975, freedom) * sum(errors) ** 0.5
    ends = np.clip((row["value"] - half, row["value"] + half), -1, 1)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(ends))
    pairs = {r["method"] for r in made if " - " in r["method"]}
    assert {"tvrl - cvrl", "ltn - cvrl", "tvrl - constant", "cvrl - untrained (tvrl)"} <= pairs
    assert not any(name.endswith("- tvrl") for name in pairs)


def test_p_of_the_methods_contains_the_spread_over_pretrainings(thrice):
    """A third error, with one degree of freedom less than there are seeds."""
    planned, made = thrice
    at, of = summary.Setting("linear", 1.0), ("tvrl - ltn", "cad")
    results = summary.gather(made)
    means = {c.name: c for c in collect.columns(planned) if c.probe == "linear"}
    own, other = (
        next(s for s in means[name].mean if s.metric == "auroc") for name in ("tvrl", "ltn")
    )
    gap_R = own.sample_R - other.sample_R
    low, high = np.percentile(gap_R[np.isfinite(gap_R)], intervals.MIDDLE)
    errors, freedoms = [(high - low) ** 2 / 4], [own.per_class - 1]
    for name in ("draws", "pretrainings"):
        gap_S = np.subtract(*(list(getattr(s, name).values()) for s in (own, other)))
        errors.append(np.var(gap_S, ddof=1) / len(gap_S))
        freedoms.append(len(gap_S) - 1)
    assert len(gap_S) == 3 and errors[-1] > 0
    freedom = sum(errors) ** 2 / sum(e**2 / f for e, f in zip(errors, freedoms, strict=True))
    value = results.find(*of, at, "auroc")["value"]
    wanted = 2 * student.sf(abs(value) / sum(errors) ** 0.5, freedom)
    assert results.find(*of, at, "auroc_p_methods")["value"] == pytest.approx(wanted)
    pairs = {r["method"] for r in made if r["metric"].endswith("_p_methods")}
    assert pairs == {"tvrl - cvrl", "tvrl - ltn", "ltn - cvrl", "cvrl - ltn"}  # no baseline
    tested = claims.table(planned, results, at)
    row = next(r for r in tested.rows if r[:3] == ["cad", "TVRL", "LTN"])
    assert row[tested.head.index("p of the methods")] == claims._probability({"value": wanted})
    assert "third error" in tested.note
    assert {len(row) for row in tested.rows} == {len(tested.head)}


def test_two_pretrainings_tell_no_p_of_the_methods(thrice, collected):
    planned, made = collected
    assert not [r for r in made if r["metric"].endswith("_p_methods")]
    tested = claims.table(planned, summary.gather(made), summary.Setting("linear", 1.0))
    assert tested.head[-2:] == ["corrected p", "verdict"] and "third" not in tested.note
    assert {len(row) for row in tested.rows} == {len(tested.head)}
    planned, _ = thrice  # and where one of three has failed, two are left
    columns = [
        c._replace(seeds=(0, 1, 5)) if c.name == "ltn" else c for c in collect.columns(planned)
    ]
    pairs = {
        r["method"]
        for r in collect.difference_rows(planned, columns)
        if r["metric"].endswith("_p_methods")
    }
    assert pairs == {"tvrl - cvrl"}


def test_a_pair_without_a_seed_in_common_is_named(collected):
    planned, _ = collected
    left = {"tvrl": 0, "cvrl": 1}  # the seed that did not fail
    columns = [
        collect._column(c.name, c.probe, [(k, c.per_seed[k])]) if (k := left.get(c.name)) in (0, 1)
        else c
        for c in collect.columns(planned)
    ]  # fmt: skip
    results = summary.gather(collect.result_rows(planned, columns))
    note = summary._note(planned, results, summary.Setting("linear", 1.0))
    assert "TVRL and CVRL: no seed in common, so that they are not compared" in note
    assert "TVRL and LTN: no seed" not in note


def test_methods_are_compared_over_the_seeds_that_both_have(collected):
    """One that failed with a seed is not compared with the other's luck in that seed."""
    planned, made = collected
    columns = collect.columns(planned)
    failed = [
        c if c.name != "ltn" else collect._column(c.name, c.probe, [(0, c.per_seed[0])])
        for c in columns
    ]
    one_each = [
        c
        if c.name not in ("tvrl", "ltn")
        else collect._column(c.name, c.probe, [(0, c.per_seed[0])])
        for c in columns
    ]
    at = summary.Setting("linear", 1.0)
    without, alone = (
        summary.gather(collect.result_rows(planned, found)) for found in (failed, one_each)
    )
    for metric in ("auroc", "auroc_p"):
        values = [r.find("tvrl - ltn", "cad", at, metric) for r in (without, alone)]
        assert values[0] == values[1], metric
    both = summary.gather(made)
    for pair in ("tvrl - cvrl", "tvrl - constant"):  # nothing else moves
        rows = [r.find(pair, "cad", at, "auroc") for r in (without, both)]
        assert rows[0] == rows[1]
    note = "LTN: seed 0 alone"
    assert note in summary.scores(planned, without, at).note
    assert note not in summary.scores(planned, both, at).note
    apart = [c if c.name != "tvrl" else c._replace(seeds=(5, 6)) for c in columns]
    rows = collect.difference_rows(planned, apart)
    assert not [r for r in rows if r["method"] == "tvrl - ltn"]
    assert [r for r in rows if r["method"] == "tvrl - constant"]


def test_holm_is_the_largest_of_all_smaller_ones_times_what_is_left():
    p_N = np.array([0.01, 0.04, np.nan, 0.03, 0.005, 0.9])
    known_N = sorted(p for p in p_N if p == p)
    slow = {p: min(1, max((5 - i) * q for i, q in enumerate(known_N) if q <= p)) for p in known_N}
    made = stats.holm(p_N)
    assert np.isnan(made[2])
    np.testing.assert_allclose(np.delete(made, 2), [slow[p] for p in p_N if p == p])
    assert len(stats.holm(np.array([]))) == 0


def test_corrected_probabilities_are_of_the_claim_alone(collected):
    _, made = collected
    rows = [row for row in made if row["metric"].endswith(collect.HOLM)]
    assert {row["method"] for row in rows} == {"tvrl - cvrl", "tvrl - ltn"}
    assert {row["metric"] for row in rows} == {"r2_p_holm", "auroc_p_holm"} and len(rows) == 4
    assert {row["task"] for row in rows} == {"ef", "cad"}
    plain = {
        (r["method"], r["task"]): r["value"] for r in made if r["metric"] in ("r2_p", "auroc_p")
    }
    for row in rows:
        before = plain[row["method"], row["task"]]
        assert before <= row["value"] <= min(1, 4 * before) + 1e-12


def test_results_csv_is_that_of_a_probe_with_two_more_columns(collected, tmp_path):
    _, made = collected
    tables.write_results(tmp_path / "results.csv", made, collect.COLUMNS)
    header = (tmp_path / "results.csv").read_text().splitlines()[0].split(",")
    assert tuple(header) == (*COLUMNS, "pretraining_seed", "spread")
    assert len(tables.read_results(tmp_path / "results.csv")) == len(made)


def test_the_table_and_the_page_say_what_was_measured(collected, tmp_path):
    planned, made = collected
    results = summary.gather(made)
    told = [("command", "python")], faults.find(planned, results)
    text = markdown.text(planned, results, *told)
    for words in ("| TVRL |", "untrained (tvrl)", "af ! (AUROC)", "±", "| 2 | - |"):
        assert words in text, words
    assert "cad (AUROC)" in text and "of 6 claimed differences" in text
    assert "2 rest on too few patients to tell." in text
    assert text.count("| - | - | too few patients |") == 2 and "over the other 4 diff" in text
    assert "clips.windows | 2 | 2 | 1" in text
    page.write(tmp_path / "report.html", planned, results, *told)
    html = (tmp_path / "report.html").read_text()
    assert "running means where 40 or more rows were logged" in html  # here are three
    # `untrained` and `constant` are what the project calls baselines: the figure subtracts neither
    assert "best baseline" not in html
    assert "that of CVRL, LTN which is best at the task" in html
    assert html.count("<img") == 2 and "http" not in html.replace("http-equiv", "")
    assert figures.label_efficiency(planned, results, "linear") is None  # one fraction: no curve


def test_a_method_of_its_own_budget_is_judged_by_it(known, tmp_path):
    """Its contrastive loss is that of guessing among the views of its own batch."""
    config = presets.get_config("phantom_cardiac")
    config.methods, config.seeds = ("cvrl", "tvrl"), (0,)
    config.only.tvrl.train = {"batch_size": 8}
    planned = small_plan(config, tmp_path, known)
    found = dict(machine.pairs(planned, "command"))
    assert found["budget"] == "CVRL: 2000 steps of 32 series; TVRL: 2000 steps of 8 series"
    assert found["model"] == "micro, 32 pixels, the same for each method"
    assert not any("budget" in note for note in page.NOTES)  # which `only` may change, as here
    for cell in planned.cells:
        cell.folder.mkdir(parents=True)
        if cell.kind == TRAIN:
            record.write(cell, Record(cell.arguments, 0, "", 60.0, 0.0))
            rows = [
                {"step": s, "loss": 2.0, "loss_contrastive": float(np.log(15))} for s in range(300)
            ]
            log = "".join(json.dumps(row) + "\n" for row in rows)
            (cell.folder / "metrics.jsonl").write_text(log)
    raised = faults.raised(planned, summary.gather([]))
    assert len(raised) == 1 and raised[0].startswith("tvrl seed 0 pretrain: Nothing")


def test_a_method_that_is_no_better_than_its_untrained_encoder_is_named(tmp_path, known):
    """Each is compared with the encoder of its own architecture, over all pretraining seeds."""
    config = presets.get_config("phantom_cardiac")
    config.methods, config.seeds, config.probes = ("cvrl", "tvrl"), (0, 1), ("linear",)
    planned = small_plan(config, tmp_path, known)
    p = {"cvrl": 0.2, "tvrl": 1e-4}

    def row(method, metric, value, seed="all"):
        of = dict(cohort="c", task="EF", probe="linear", fraction=1.0, seed="all", n=99)
        interval = dict(value=value, ci_low=value - 0.1, ci_high=value + 0.1)
        return of | interval | dict(method=method, metric=metric, pretraining_seed=seed, spread=0.0)

    made = []
    for method in config.methods:
        other = f"untrained ({method})"
        made += [row(method, "r2", 0.5), row(method, "r2", 0.1, seed=0), row(other, "r2", 0.3)]
        made += [row(f"{method} - {other}", "r2", 0.2)]
        made += [row(f"{method} - {other}", "r2_p", p[method])]
    (said,) = faults.raised(planned, summary.gather(made))
    assert said.startswith("cvrl: Pretraining has not helped") and "in 0 of 1 tasks" in said


def test_a_note_says_whether_the_draws_of_labels_are_in_the_intervals(collected):
    planned, made = collected
    results = summary.gather(made)
    at = summary.Setting("linear", 1.0)
    assert "over patients and draws of labels]; mean of 5 draws" in summary._note(
        planned, results, at
    )
    single = planned._replace(config=planned.config.copy_and_resolve_references())
    with single.config.unlocked():
        single.config.probe.seeds = 1
    note = summary._note(single, results, at)
    assert "[95 % interval over patients]; one seed: the luck of its draw" in note


def test_seeds_that_disagree_are_neither_ahead_nor_behind(collected):
    planned, made = collected
    at = summary.Setting("linear", 1.0)
    own = [r for r in made if r["method"] == "tvrl - cvrl" and r["pretraining_seed"] != ALL]
    assert {(r["metric"], r["pretraining_seed"]) for r in own} == {
        (metric, seed) for metric in ("r2", "auroc") for seed in (0, 1)
    }
    over = summary.gather(made).find("tvrl - cvrl", "ef", at, "r2")["value"]
    values = [r["value"] for r in own if (r["task"], r["metric"]) == ("ef", "r2")]
    assert np.mean(values) == pytest.approx(over) and len(values) == 2

    def verdict(*values):
        """Of claimed differences that are beyond chance, with these values of the two seeds."""
        seeds = iter(values)
        changed = []
        for row in made:
            row = dict(row)
            if (row["method"], row["task"]) == ("tvrl - cvrl", "ef"):
                if row["metric"].endswith(collect.HOLM):
                    row["value"] = 0.01
                elif row["metric"] == "r2":
                    row["value"] = sum(values) if row["pretraining_seed"] == ALL else next(seeds)
            changed.append(row)
        tested = claims.table(planned, summary.gather(changed), at)
        words = next(r for r in tested.rows if r[:3] == ["ef", "TVRL", "CVRL"])
        return words[-1], claims.verdict(tested, at)

    assert verdict(0.1, 0.3)[0] == claims.AHEAD and verdict(-0.1, -0.3)[0] == claims.BEHIND
    assert verdict(-0.1, 0.3)[0] == claims.SPLIT
    assert "In 1 the pretraining seeds disagree." in verdict(-0.1, 0.3)[1]
    assert "disagree" not in verdict(0.1, 0.3)[1]


def test_a_probability_is_not_rounded_to_the_other_side_of_its_verdict():
    texts = [
        claims._probability({"value": p}) for p in (0.0498, 0.0502, 2e-6, 0.0032, 0.123, np.nan)
    ]
    assert texts == ["0.0498", "0.0502", "< 0.0001", "0.0032", "0.12", "-"]


def test_the_page_tells_the_unit_of_its_horizons(collected):
    planned, made = collected
    for rows, told in ((made, False), ([*made, made[0] | {"metric": "auc_2"}], True)):
        made_of = page.sections(planned, summary.gather(rows), [], faults.Faults([], []))
        notes = made_of[-1].parts[0].items
        assert any("is a time in s." in note for note in notes) is told


def test_a_mark_among_all_metrics_is_not_taken_for_a_verdict(collected):
    planned, made = collected
    at = summary.Setting("linear", 1.0)
    lead = [r | {"ci_low": 0.1, "ci_high": 0.2} for r in made if r["method"] == "tvrl - cvrl"]
    own = [r for r in made if r["method"] in ("tvrl", "cvrl")]
    apart = [r | {"value": r["value"] + 0.2 * (r["method"] == "tvrl")} for r in own]
    for rows, told in ((own, False), (apart + lead, True)):
        note = page._all_metrics(planned, summary.gather(rows), at).note
        assert "the pretraining seeds 0, 1 are averaged, too." in note
        assert ("does not ask whether the pretraining seeds agree." in note) is told


def test_the_seeds_of_the_probe_are_numbered_as_those_of_pretraining(collected, monkeypatch):
    monkeypatch.setattr(machine, "devices", lambda: "none")
    assert (
        dict(machine.pairs(collected[0], "x"))["seeds"] == "pretraining 0, 1; probe 0, 1, 2, 3, 4"
    )


def test_every_column_looks_different_in_the_figures(collected):
    planned, _ = collected
    names = collect.names(planned)
    assert {"untrained (cvrl)", "untrained (tvrl)"} < set(names)
    assert len({str(figures.look(planned, name)) for name in names}) == len(names)


def test_verdicts_and_notes_are_of_these_encoders(collected):
    planned, made = collected
    results, at = summary.gather(made), summary.Setting("linear", 1.0)
    single = planned._replace(config=planned.config.copy_and_resolve_references())
    single.config.seeds = (0,)
    assert "intervals and p do not contain" in summary._note(planned, results, at)
    assert (
        "every pretraining seed of both alone has the same"
        in claims.table(planned, results, at).note
    )
    for note in (summary._note(single, results, at), claims.table(single, results, at).note):
        assert "for these encoders" in note and "one pretraining each" in note
    assert "of these encoders" in claims.verdict(claims.table(single, results, at), at)


def test_a_comparison_without_any_result_still_has_a_table(known, tmp_path):
    planned = small_plan(presets.get_config("phantom_cardiac"), tmp_path, known)
    results = summary.gather(collect.result_rows(planned, collect.columns(planned)))
    told = [("command", "python")], faults.find(planned, results)
    text = markdown.text(planned, results, *told)
    assert text.count("not run yet") == 14 and "% of the labels" not in text
    page.write(tmp_path / "report.html", planned, results, *told)


# From the command line


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


def test_whose_failure_costs_the_table_an_untrained_encoder_is_said(tmp_path):
    planned = scripted(tmp_path, {"a": ("make()", "sys.exit(2)"), "b": ("make()", "sys.exit(2)")})
    cells = [cell._replace(baselines=("untrained", "constant")) for cell in planned.cells[:2]]
    run(planned)
    lines = faults.undone(planned._replace(cells=(*cells, *planned.cells[2:])))
    assert lines[0].endswith("so the table lacks its untrained encoder")
    assert "untrained" not in lines[1]


def test_names_are_no_markup_of_the_table():
    grid = summary.Grid(["method", "a|b (R2)"], [["<b>x</b>", "< 0.01"]], "")
    assert markdown.table(grid).splitlines()[0] == "| method | a\\|b (R2) |"
    assert markdown.table(grid).splitlines()[2] == "| \\<b>x\\</b> | < 0.01 |"


def test_long_names_leave_room_for_the_figure():
    figure = Figure()
    axis = figure.subplots()
    name = "thickness of the " + "very " * 30 + "central retina"
    axis.set_title(f"{name}\n(R2)")
    axis.set_yticks([0, 1], [name, "va"])
    style.png(figure)
    assert axis.get_title(loc="center").split("\n") == [style._cut(name), "(R2)"]
    ticks = [label.get_text() for label in axis.get_yticklabels()]
    assert ticks[1] == "va" and ticks[0] == style._cut(name) and len(ticks[0]) <= style.LONGEST
    assert ticks[0].startswith("thickness of the") and ticks[0].endswith("central retina")


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


def dated(root: Path):
    """A comparison on a cohort with events, in days: 110 is the first of a test patient."""
    tiny.write_cohort(root, subjects=32)
    table = pd.read_csv(root / "cohort.csv")
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
