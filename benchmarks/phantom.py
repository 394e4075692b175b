"""How long a synthetic cohort takes to write.

    python -m benchmarks.phantom --kind=cardiac --subjects=200 --size=96
    python -m benchmarks.phantom --kind=retina --subjects=200 --size=64

Prints the wall time, the processor time per subject (which says more on a busy machine) and the
size on disk, and scales them to 1,000 subjects.
"""

import os
import resource
import tempfile
import time
from pathlib import Path

from absl import app, flags

from tvrl_jax.data.phantom import write

KIND = flags.DEFINE_string("kind", "cardiac", "cardiac or retina")
SUBJECTS = flags.DEFINE_integer("subjects", 200, "number of subjects")
SIZE = flags.DEFINE_integer("size", 96, "side of the pictures, pixels")
NUISANCE = flags.DEFINE_string("nuisance", "mild", "none, mild or strong")
PROCESSES = flags.DEFINE_integer("processes", 2, "writing processes")


def processor_seconds() -> float:
    """Of this process and of its finished children, user and system."""
    both = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in both)


def main(_) -> None:
    settings = dict(kind=KIND.value, seed=0, size=SIZE.value, nuisance=NUISANCE.value)
    with tempfile.TemporaryDirectory() as folder:
        wall, used = time.perf_counter(), processor_seconds()
        write(folder, subjects=SUBJECTS.value, processes=PROCESSES.value, **settings)
        wall, used = time.perf_counter() - wall, processor_seconds() - used
        files = [p for p in Path(folder).rglob("*") if p.is_file()]
        stored = sum(p.stat().st_size for p in files)
    report(len(files), wall / SUBJECTS.value, used / SUBJECTS.value, stored / SUBJECTS.value)


def report(files: int, wall: float, used: float, stored: float) -> None:
    """Prints the files, and seconds of wall and of processor time and bytes of each subject."""
    print(
        f"{KIND.value}: {SUBJECTS.value} subjects, {files} files, {SIZE.value} x {SIZE.value}, "
        f"{PROCESSES.value} processes, load {os.getloadavg()[0]:.1f}: {1000 * wall:.0f} ms wall, "
        f"{1000 * used:.0f} ms processor and {stored / 1e3:.0f} kB per subject; 1,000 subjects: "
        f"{1000 * wall:.0f} s wall, {1000 * used:.0f} s processor, {stored / 1e3:.0f} MB"
    )


if __name__ == "__main__":
    app.run(main)
