"""Cells fail alone, are resumed, and nothing is run twice."""

import io
import json
import os
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from comparisons import finish, ran, run, scripted, small_plan
from conftest import ROOT

from configs import compare as presets
from tvrl_jax.command import shell
from tvrl_jax.comparison import board, faults, record, runner, summary
from tvrl_jax.comparison.plan import TRAIN
from tvrl_jax.comparison.record import Record
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder
from tvrl_jax.probing import predictions


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


@pytest.mark.parametrize(("flag", "runs"), [("data.threads=9", [1, 1]), ("data.root=/new", [2, 1])])
def test_where_and_how_fast_images_are_read_is_no_other_pretraining(tmp_path, flag, runs):
    """It keeps its cost and its probe; where the images lie now, it must be told for others."""
    planned = scripted(tmp_path, {"a": ("make()", "make()")})
    assert run(planned)[0] == []
    before = [record.read(cell)._replace(seconds=3600.0) for cell in planned.cells]
    for cell, made in zip(planned.cells, before, strict=True):
        record.write(cell, made)
    train, probe = planned.cells
    moved = train._replace(arguments=(*train.arguments, f"--config.{flag}"))
    planned = planned._replace(cells=(moved, probe))
    assert run(planned)[0] == [] and ran(planned) == runs
    after = [record.read(cell) for cell in planned.cells]
    assert after[0].seconds >= 3600 and after[0].ended == before[0].ended and after[1] == before[1]
    assert run(planned)[1].count("done before") == 2


def test_a_clock_that_was_ahead_does_not_make_a_probe_run_for_ever(tmp_path):
    planned = scripted(tmp_path, {"a": ("make()", "make()")})
    assert run(planned)[0] == []
    train = planned.cells[0]
    record.write(train, record.read(train)._replace(ended=time.time() + 9e5))
    assert run(planned)[0] == [] and ran(planned) == [1, 1]
    assert all(record.is_done(planned, cell) for cell in planned.cells)
    assert run(planned)[1].count("done before") == 2


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
    assert record.reason(tmp_path / "log", -9) == "ended by signal 9 (SIGKILL)"
    assert record.reason(tmp_path / "log", -40) == "ended by signal 40"


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


def test_what_was_spent_before_an_interruption_is_told_apart(tmp_path):
    planned, now, said = scripted(tmp_path, {"a": ("", "")}), [0.0], io.StringIO()
    shown = board.Board(planned.cells, stream=said, clock=lambda: now[0])
    for cell, before in zip(planned.cells, (219, 0), strict=True):
        cell.folder.parent.mkdir(parents=True, exist_ok=True)
        shown.begun(cell, record.log_of(cell))
        now[0] += 167
        shown.ended(cell, Record(cell.arguments, 0, "", 167.2 + before, now[0]))
    first, second = (line for line in said.getvalue().splitlines() if "done in" in line)
    assert "done in 6:26, 3:39 of them before this start  (elapsed 2:47" in first
    assert "done in 2:47  (elapsed 5:34" in second


def test_whose_failure_costs_the_table_an_untrained_encoder_is_said(tmp_path):
    planned = scripted(tmp_path, {"a": ("make()", "sys.exit(2)"), "b": ("make()", "sys.exit(2)")})
    cells = [cell._replace(baselines=("untrained", "constant")) for cell in planned.cells[:2]]
    run(planned)
    lines = faults.undone(planned._replace(cells=(*cells, *planned.cells[2:])))
    assert lines[0].endswith("so the table lacks its untrained encoder")
    assert "untrained" not in lines[1]
