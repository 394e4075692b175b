"""Laws of a synthetic cohort's folder: whoever is started with whom, and killed, it ends whole."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from contents import digests

from tvrl_jax.data import phantom
from tvrl_jax.data.phantom import retina, settings
from tvrl_jax.errors import UserError
from tvrl_jax.files import turn, whole_file

SMALL = dict(kind="retina", subjects=3, seed=3, size=32, nuisance="mild")
LONG = 120.0  # seconds until a test gives up
PART, LOCK = ".phantom.unfinished.json.part", ".phantom.lock"


def write(root, **change):
    phantom.write(root, **SMALL | change, progress=False, processes=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "whole"
    write(folder)
    return digests(folder)


class Stop:
    """Stands in for `whole_file`: the first to write waits, its part begun, for `go_on`."""

    PART = whole_file.PART

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()

    def write(self, path, content, **how):
        if not self.begun.is_set():
            path.with_name(f".{path.name}{self.PART}").write_bytes(content[:3])
            self.begun.set()
            assert self.go_on.wait(LONG)
        whole_file.write(path, content, **how)


@pytest.mark.parametrize("where", [settings, retina], ids=["claim", "image"])
def test_calls_started_together_write_one_whole_cohort(where, tmp_path, monkeypatch, caplog, whole):
    stop = Stop()
    monkeypatch.setattr(where, "whole_file", stop)
    monkeypatch.setattr(logging.getLogger("tvrl_jax"), "propagate", True)
    root = tmp_path / "new" / "cohort"
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(write, root)]
        assert stop.begun.wait(LONG)
        calls += [pool.submit(write, root) for _ in range(2)]
        until = time.monotonic() + 10
        while len(caplog.messages) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        early = [call for call in calls if call.done()]
        stop.go_on.set()
        for call in calls:
            call.result()
    assert not early
    assert sum("waiting for process" in line for line in caplog.messages) == 2
    assert digests(root) == whole


def test_who_waits_goes_on_where_a_killed_process_stopped(tmp_path):
    root = tmp_path / "cohort"
    command = [sys.executable, "-m", "tvrl_jax.data.phantom", "--kind=retina", f"--out={root}"]
    command += ["--subjects=80", "--size=32", "--seed=3"]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    second = None
    try:
        wait_for(root, "phantom.unfinished.json", 1, first)
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(root, "images/*.png", 20, first)
        first.kill()
        said = second.communicate(timeout=LONG)[1]
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.wait()
    assert second.returncode == 0 and "Traceback" not in said, said
    assert sorted(p.name for p in root.iterdir()) == ["cohort.csv", "images", "phantom.json"]
    assert not list(root.rglob(".*"))


def wait_for(root, pattern, count, process):
    until = time.monotonic() + LONG
    while len(list(root.glob(pattern))) < count:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)


def test_workers_do_not_outlive_a_process_killed_while_they_start(tmp_path):
    code = f"""
import os, signal, threading
from tvrl_jax.data import phantom
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
phantom.write({str(tmp_path / "x")!r}, **{SMALL | dict(subjects=400)}, processes=2)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as first:
        try:
            first.communicate(timeout=30)  # the pipe ends when the last worker has gone
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(first.pid, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert not list(tmp_path.rglob("*.png"))


def test_a_failed_call_lets_the_next_one_go_on(tmp_path, monkeypatch, whole):
    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(retina, "whole_file", SimpleNamespace(write=fail))
        write(tmp_path)
    assert not (tmp_path / LOCK).exists()
    write(tmp_path)
    assert digests(tmp_path) == whole


@pytest.mark.parametrize("left", [[PART], [LOCK], [PART, LOCK]])
def test_a_process_killed_before_its_first_rename_bars_nobody(tmp_path, left, whole):
    for name in left:
        (tmp_path / name).write_text('{"ki')
    write(tmp_path)
    assert digests(tmp_path) == whole


def test_files_of_others_beside_what_a_killed_process_left_are_refused(tmp_path):
    (tmp_path / PART).write_text('{"ki')
    (tmp_path / "thesis.txt").write_text("keep me")
    with pytest.raises(UserError, match="empty or a new folder"):
        write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {PART, "thesis.txt"}


def test_another_cohort_is_refused_at_once_while_one_is_written(tmp_path):
    with turn.held(tmp_path, settings.LOCK):
        settings.claim(tmp_path, settings.checked(phantom.writing.KINDS, **SMALL))
        with pytest.raises(UserError, match="seed is 3 there and 4 here"):
            write(tmp_path, seed=4)


def test_a_mark_that_is_no_text_is_named(tmp_path):
    (tmp_path / "phantom.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="is not a JSON object"):
        write(tmp_path)


def test_a_lock_file_that_was_removed_meanwhile_is_no_lock(tmp_path):
    """Three take turns: who waits on the first one's file must not enter beside the third."""
    inside, most = [], []

    def enter(_):
        with turn.held(tmp_path, settings.LOCK):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.002)
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(60)))
    assert max(most) == 1 and len(most) == 60
