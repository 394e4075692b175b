"""Damaged checkpoints and full disks are named, and cost no more than the steps since the last."""

import os
import resource
import shutil

import pytest
import survival

from tvrl_jax import roster
from tvrl_jax.checkpoint import restore_for_reading, whole
from tvrl_jax.checkpoint.whole import steps
from tvrl_jax.errors import UserError, verdict
from tvrl_jax.files import run_folder
from tvrl_jax.report.metricslog import FILE, MetricsLog

SMALL = 20_000  # bytes: more than settings and metrics, less than the arrays of a checkpoint
LAST = survival.STEPS
pytestmark = pytest.mark.timeout(3000)  # a machine may be busy; every wait has its own end


@pytest.fixture(scope="module")
def reference(server, root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "run"
    code, said = survival.run(server, root, folder)
    assert code == 0, said
    return folder


def _files(folder):
    """Those of the arrays, the largest first."""
    files = [path for path in (folder / "state").rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: -path.stat().st_size)


def _hurts(folder):
    """Whether a parameter is damaged: the probe reads nothing else of the state, nor needs it."""
    try:
        restore_for_reading(folder.parent, ("params",), folder.name)
    except UserError:
        return True
    return False


def _harm(folder, forms):
    """The first form of a file that takes a parameter with it; None stands for no file at all."""
    for path in _files(folder):
        whole = path.read_bytes()
        for content in forms(whole):
            path.unlink() if content is None else path.write_bytes(content)
            if _hurts(folder):
                return
        path.write_bytes(whole)
    raise AssertionError(f"no parameter lies in {folder}")


def _flip(folder):
    def forms(whole):
        for place in range(0, len(whole), len(whole) // 20 + 1):
            yield whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]

    _harm(folder, forms)


def _cut(folder):
    _harm(folder, lambda whole: (whole[: len(whole) // part] for part in (2, 8, 32)))


def _lose(folder):
    _harm(folder, lambda whole: [None])


def _empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES = {
    "flipped bit": _flip,
    "truncated file": _cut,
    "missing file": _lose,
    "empty folder": _empty,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_by_the_probe_and_passed_over_by_the_run(
    server, root, reference, tmp_path, damage
):
    folder = tmp_path / "run"
    shutil.copytree(reference, folder)
    shutil.copy(f"{reference}.order", f"{folder}.order")
    DAMAGES[damage](folder / "checkpoints" / str(LAST))
    code, said = server.run(
        "probe.py",
        "--config=configs/probe_linear.py",
        "--config.fractions=(1.0,)",
        f"--checkpoint={folder}",
        f"--workdir={tmp_path / 'probe'}",
    )
    *_, last = said.strip().splitlines()
    assert code == 2 and "Traceback" not in said, said
    assert last.startswith("error: ") and f"step {LAST} is damaged" in last, said
    code, said = survival.run(server, root, folder)
    assert code == 0 and f"/{LAST} is damaged: " in said, said
    assert f"continuing from the checkpoint of step {LAST - survival.EVERY}" in said
    assert (folder / "damaged" / f"checkpoints-{LAST}").is_dir()
    survival.assert_same_run(reference, folder)


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    server, root, reference, tmp_path
):
    folder = tmp_path / "run"
    code, said = survival.run(server, root, folder, hooks={"file_limits": {6: SMALL}})
    assert code == 2 and "Traceback" not in said, said
    assert "the checkpoint of step 8 cannot be saved" in said and "that of step 4" in said, said
    assert steps(folder / "checkpoints") == [4]
    code, said = survival.run(server, root, folder)
    assert code == 0 and "continuing from the checkpoint of step 4" in said, said
    survival.assert_same_run(reference, folder)


def test_a_full_disk_is_passed_over_when_the_run_is_to_go_on(server, root, reference, tmp_path):
    go_on = {"train.on_full": "continue"}
    code, said = survival.run(
        server, root, tmp_path / "a", hooks={"file_limits": {6: SMALL, 14: 0}}, **go_on
    )
    assert code == 0 and "the checkpoint of step 8 cannot be saved" in said, said
    assert "Traceback" not in said, said
    survival.assert_same_run(reference, tmp_path / "a", lost=(8, 12))
    # There is no going on past the end: the last state must lie somewhere.
    code, said = survival.run(
        server, root, tmp_path / "b", hooks={"file_limits": {30: SMALL}}, **go_on
    )
    assert code == 2 and f"the checkpoint of step {LAST} could not be saved" in said, said
    assert 28 in steps(tmp_path / "b" / "checkpoints") and "Traceback" not in said


@pytest.fixture
def limit():
    """Sets how large a file may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def to(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size if size else before[0], before[1]))

    yield to
    to(0)


def test_rows_that_find_no_room_are_an_error_or_wait(tmp_path, limit):
    row = {"loss": 0.5, "text": "x" * 50}
    for name, on_full in (("stop", "stop"), ("continue", "continue"), ("whole", "stop")):
        log = MetricsLog(tmp_path / name, tensorboard=False, on_full=on_full)
        for step in range(6):
            limit(200 if step == 2 and name != "whole" else 0)
            if step == 2 and name == "stop":
                with pytest.raises(UserError, match=r"metrics.jsonl cannot be written \("):
                    log.write(step, row)
                limit(0)
                break
            log.write(step, row)
            if step == 2 and name == "continue":
                assert len((tmp_path / name / FILE).read_text().splitlines()) == 2
        limit(0)
        log.close()
    whole = (tmp_path / "whole" / FILE).read_bytes()
    assert (tmp_path / "continue" / FILE).read_bytes() == whole
    assert whole.startswith((tmp_path / "stop" / FILE).read_bytes())


def test_rows_that_waited_lie_on_the_disk_before_a_checkpoint_does(tmp_path, limit):
    with MetricsLog(tmp_path, tensorboard=False, on_full="continue") as log:
        limit(100)
        for step in range(3):
            log.write(step, {"text": "x" * 50})
        limit(0)
        assert len((tmp_path / FILE).read_text().splitlines()) == 1
        log.sync()
        assert len((tmp_path / FILE).read_text().splitlines()) == 3


def test_a_full_disk_is_told_from_want_of_memory():
    full = RuntimeError("RESOURCE_EXHAUSTED: a/vm.xplane.pb; No space left on device")
    assert "no room on the disk" in verdict(full)[1]
    assert "not enough memory" in verdict(RuntimeError("RESOURCE_EXHAUSTED: 5 GiB"))[1]


@pytest.mark.parametrize("name", ["config.json", "roster.json", "checkpoints/4/metrics/metrics"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(name, reference, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(reference, folder, ignore=shutil.ignore_patterns("tensorboard"))
    step = max(steps(folder / "checkpoints"))
    file = folder / name.replace("/4/", f"/{step}/")
    file.unlink()
    os.mkfifo(file)
    if name == "config.json":
        with pytest.raises(UserError, match=r"config.json is a folder, a pipe or a device"):
            run_folder.read(folder)
    elif name == "roster.json":
        with pytest.raises(UserError, match=r"roster.json is a folder, a pipe or a device"):
            roster.read(folder)
    else:
        with pytest.raises(whole.Corrupt, match="metrics cannot be read"):
            whole.metrics(file.parent.parent)
        with pytest.raises(whole.Corrupt, match="metrics/metrics is no file"):
            whole.attempt(lambda: None, file.parent.parent)


def test_a_board_that_finds_no_room_is_an_error_or_given_up(tmp_path, limit):
    for on_full in ("stop", "continue"):
        log = MetricsLog(tmp_path / on_full, tensorboard=True, on_full=on_full)
        for step in range(3):
            log.write(step, {"loss": 0.5})
        limit(100)
        if on_full == "stop":
            with pytest.raises(UserError, match=r"tensorboard cannot be written \("):
                log.close()
        else:
            log.close()
        limit(0)
    assert len((tmp_path / "continue" / FILE).read_text().splitlines()) == 3
