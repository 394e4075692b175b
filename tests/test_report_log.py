"""Laws of the run's log and of the line in the terminal."""

import io
import itertools
import math

import numpy as np
import pytest
from written import write_log

from tvrl_jax.errors import UserError
from tvrl_jax.report.metricslog import FILE, MetricsLog, read_metrics
from tvrl_jax.report.progress import Progress, duration


def test_metrics_come_back_as_written_and_nan_as_null(tmp_path):
    write_log(tmp_path, range(5))
    rows = read_metrics(tmp_path / FILE)
    assert [row["step"] for row in rows] == list(range(5))
    assert rows[4] == {"step": 4, "loss": float(np.float32(0.2)), "top1": 0.4}
    assert rows[3]["top1"] is None
    assert "NaN" not in (tmp_path / FILE).read_text()


def test_metrics_of_arrays_and_infinities_are_valid_json(tmp_path):
    with MetricsLog(tmp_path, tensorboard=False) as log:
        log.write(np.int64(0), {"a": np.array([1.0, np.inf]), "b": np.bool_(True), "c": "text"})
    assert read_metrics(tmp_path / FILE) == [{"step": 0, "a": [1.0, None], "b": True, "c": "text"}]


def test_every_row_is_on_disk_before_the_log_is_closed(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write(0, {"loss": 1.0})
    assert len(read_metrics(tmp_path / FILE)) == 1
    log.close()


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_torn_last_line_is_left_out(tmp_path, cut):
    write_log(tmp_path, range(3))
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    # Without its line feed alone the row is still whole.
    assert [row["step"] for row in read_metrics(path)] == ([0, 1, 2] if cut == 1 else [0, 1])


def test_a_broken_line_before_the_last_is_named(tmp_path):
    (tmp_path / FILE).write_text('{"step": 0}\n{"ste\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 2"):
        read_metrics(tmp_path / FILE)


def test_a_resumed_run_leaves_the_file_of_an_uninterrupted_one(tmp_path):
    write_log(tmp_path / "straight", range(9))
    write_log(tmp_path / "killed", range(6))
    with (tmp_path / "killed" / FILE).open("a") as file:
        file.write('{"step": 6, "lo')
    write_log(tmp_path / "killed", range(4, 9), resume_step=4)
    straight, killed = ((tmp_path / name / FILE).read_bytes() for name in ("straight", "killed"))
    assert straight == killed
    assert not list((tmp_path / "killed").glob(".*.part"))


def test_tensorboard_gets_scalars(tmp_path):
    with MetricsLog(tmp_path, tensorboard=True) as log:
        log.write(7, {"some_scalar": 0.5, "missing": math.nan})
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"some_scalar" in events and b"missing" not in events


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _progress(stream, steps: int, seconds: float, every: int) -> list[str]:
    clock = itertools.count(0.0, seconds / 2).__next__  # read about twice an update
    progress = Progress(steps, clips=8, stream=stream, clock=clock)
    for step in range(1, steps + 1):
        progress.update(step, {"loss": 1 / step} if step % every == 0 else None)
    progress.close()
    return stream.getvalue().splitlines()


def test_progress_tells_rate_and_remaining_time():
    now = [0.0]
    progress = Progress(100, clips=8, stream=io.StringIO(), clock=lambda: now[0])
    for step in range(1, 21):
        now[0] += 10.0 if step == 1 else 0.5  # the first step compiles: it is no measure
        progress.update(step, {"loss": 2.0, "unasked": 1.0})
    line = progress.line()
    for part in ("20/100", "20 %", "2 steps/s", "16 clips/s", "elapsed 0:20", "left 0:40"):
        assert part in line
    assert "loss 2" in line and "unasked" not in line


def test_progress_says_that_the_first_step_compiles_and_then_waits_for_a_rate():
    stream = io.StringIO()
    progress = Progress(10, clips=8, stream=stream, clock=itertools.count(0.0, 10.0).__next__)
    progress.begin()
    assert "0/10" in stream.getvalue() and "compiling" in stream.getvalue()
    progress.update(1)
    assert not {"compiling", "left", "steps/s"} & set(progress.line().split())
    progress.update(2)
    assert "left" in progress.line() and "compiling" not in progress.line()


def test_progress_does_not_flood_a_file_and_ends_with_the_last_step():
    lines = _progress(io.StringIO(), steps=1000, seconds=0.01, every=1)
    assert len(lines) < 30
    assert "1000/1000" in lines[-1]


def test_progress_is_heard_of_between_rare_log_lines():
    lines = _progress(io.StringIO(), steps=100, seconds=10.0, every=1000)
    assert len(lines) > 10


def test_progress_redraws_one_line_on_a_terminal():
    stream = Terminal()
    _progress(stream, steps=50, seconds=1.0, every=10)
    assert stream.getvalue().count("\n") == 1 and stream.getvalue().count("\r") > 10


def test_durations():
    assert [duration(s) for s in (0, 59.6, 3725)] == ["0:00", "1:00", "1:02:05"]
