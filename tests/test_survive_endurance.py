"""A long run does not grow. `python -m benchmarks.endurance` runs the whole 20,000 steps."""

import sys
from pathlib import Path
from statistics import median

import pytest
import tiny

from benchmarks import endurance

STEPS, EVERY = 1000, 5
GROWTH = 24.0  # MiB of memory of its own over the second half, 100 checkpoints
# More than before half-time, of what is held most of the time: a save that is under way holds more,
# and batches of the worker's, stacks of threads and arenas of the allocator come and go.
SPARE = {"threads": 3, "files": 3, "shm": 3, "maps": 40}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.timeout(2400)  # a busy machine is no failure
def test_memory_threads_files_and_shared_memory_stay(tmp_path):
    root, folder = tmp_path / "cohort", tmp_path / "run"
    tiny.write_cohort(root)
    command = endurance.command(root, folder, STEPS, EVERY, workers=1)
    samples = endurance.watch(command, folder, every=20)
    print("\n".join([endurance.HEAD, *(one.line() for one in samples)]))
    second = [one for one in samples if one.step >= STEPS / 2]
    first = [one for one in samples if STEPS / 4 <= one.step < STEPS / 2]
    assert len(second) >= 5 and len(first) >= 2
    # Middle values: now and then the allocator gives back a hundred MiB at once, and takes twenty
    # of them again. Between the middles of two quarters lies half of the half.
    third, fourth = (
        median(one.own_mb for one in quarter)
        for quarter in (second[: len(second) // 2], second[len(second) // 2 :])
    )
    assert fourth - third < GROWTH / 2
    for what, spare in SPARE.items():
        before, after = (median(getattr(one, what) for one in half) for half in (first, second))
        assert after <= before + spare, what
    assert max(one.saved for one in samples) <= 4  # two newest, the best and one to be removed
    assert not list(Path(folder).glob("checkpoints/*tmp*"))
