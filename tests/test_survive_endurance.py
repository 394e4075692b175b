"""A long run does not grow. `python -m benchmarks.endurance` runs the whole 20,000 steps."""

import sys
from pathlib import Path

import pytest
import tiny

from benchmarks import endurance

STEPS, EVERY = 1000, 5
GROWTH = 16.0  # MiB of memory of its own over the second half, 100 checkpoints
# More than before half-time: those of a save that is under way; batches of the worker's; stacks of
# threads and arenas of the allocator.
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
    assert endurance.slope(samples) * STEPS / 2000 < GROWTH
    for what, spare in SPARE.items():
        before = max(getattr(one, what) for one in first)
        assert max(getattr(one, what) for one in second) <= before + spare, what
    assert max(one.saved for one in samples) <= 4  # two newest, the best and one to be removed
    assert not list(Path(folder).glob("checkpoints/*tmp*"))
