"""kill -9 at any moment: the run goes on as if nothing had been, and nobody outlives it."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import survival
import tiny
from forkserver import Child

SEED = 5
SUBJECTS = 48
PACK_PAUSE = 0.05  # seconds: all is not packed before a slow machine has come to kill four times
PLAN = {"packing": 4, "start-up": 4, "save": 6, "step": 6}
pytestmark = pytest.mark.timeout(3000)  # a machine may be busy; every wait has its own end


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(folder, SUBJECTS)
    return folder


@pytest.fixture(scope="module")
def reference(server, root, tmp_path_factory):
    """The run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    code, said = survival.run(server, root, folder)
    assert code == 0, said
    return folder


class Seen:
    """What a run has written so far."""

    def __init__(self, folder: Path, store: Path):
        self.packed = len(list(store.glob("*/*.frames")))
        self.saving = {path.name for path in folder.glob("checkpoints/*tmp*")}
        self.batches = len(survival.order(folder))


def _reached(phase: str, before: Seen, now: Seen, more: int) -> bool:
    return {
        "packing": now.packed >= before.packed + more,
        "start-up": True,
        "save": bool(now.saving - before.saving),
        "step": now.batches >= before.batches + more,
    }[phase]


def _landed(before: Seen, now: Seen) -> str:
    """The phase in which a run was killed, by what it left."""
    if now.saving - before.saving:
        return "save"
    if now.packed < SUBJECTS:
        return "packing" if now.packed > before.packed else "start-up"
    return "step" if now.batches > before.batches else "start-up"


def _kill_in(phase: str, rng: random.Random, child: Child, folder: Path, store: Path) -> str | None:
    """Kills the child in, or a little after, a phase. Returns where it was, or None if it ended."""
    before = Seen(folder, store)
    more, pause = rng.randint(1, 5), rng.uniform(0, {"start-up": 1.5}.get(phase, 0.03))
    end = time.monotonic() + 900
    while not _reached(phase, before, Seen(folder, store), more):
        if child.poll() is not None:
            return None
        assert time.monotonic() < end, f"no {phase} in sight: {child.said()}"
        time.sleep(0.001)
    time.sleep(pause)
    child.kill()
    return _landed(before, Seen(folder, store)) if child.code == -signal.SIGKILL else None


def test_twenty_kills_change_nothing(server, root, reference, tmp_path):
    rng = random.Random(SEED)
    phases = [name for name, count in PLAN.items() if name != "packing" for _ in range(count)]
    rng.shuffle(phases)
    phases = ["packing"] * PLAN["packing"] + phases  # what is packed is packed once
    folder, store, landed = tmp_path / "run", tmp_path / "store", []
    for phase in phases:
        slow, changes = {"pack_pause": PACK_PAUSE}, {"data.store": store, "data.threads": 1}
        child = survival.start(server, root, folder, slow, **changes)
        where = _kill_in(phase, rng, child, folder, store)
        assert where, f"it ended before it was killed: {child.code} {child.said()}"
        landed.append(where)
    code, said = survival.run(server, root, folder, **{"data.store": store})
    assert code == 0, said
    print(f"seed {SEED}: killed in {dict(Counter(landed))}")
    assert len(landed) == 20 and set(landed) == set(PLAN)
    survival.assert_same_run(reference, folder)


def _descendants(pid: int) -> set[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found, more = set(), {pid}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in more} - found
    return found - {pid}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(holds, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_a_killed_trainer_and_the_run_goes_on(server, root, reference, tmp_path):
    folder = tmp_path / "run"
    child = survival.start(server, root, folder, **{"data.workers": 2})
    _until(lambda: len(survival.order(folder)) >= 6 or child.poll() is not None, 900)
    workers = _descendants(child.pid)
    child.kill()
    assert child.code == -signal.SIGKILL and len(workers) >= 2, child.said()
    _until(lambda: not any(map(_alive, workers)), 60)
    code, said = survival.run(server, root, folder)
    assert code == 0, said
    survival.assert_same_run(reference, folder)


def test_a_folder_belongs_to_one_run_until_that_is_dead(server, root, reference, tmp_path):
    folder = tmp_path / "run"
    first = survival.start(server, root, folder)
    _until(lambda: survival.order(folder) or first.poll() is not None, 900)
    os.kill(first.pid, signal.SIGSTOP)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, said = survival.run(server, root, folder)
    assert code == 2 and "another run is at work there" in said and "Traceback" not in said, said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    first.kill()
    assert first.code == -signal.SIGKILL
    code, said = survival.run(server, root, folder)
    assert code == 0, said
    survival.assert_same_run(reference, folder)
