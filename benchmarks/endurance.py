"""Does a long run grow? 20,000 steps of the smallest model with a checkpoint every 50.

  python -m benchmarks.endurance
  python -m benchmarks.endurance --steps=2000 --every=5 --workers=2

Runs train.py as a process of its own on a tiny cohort and looks at it from outside: memory,
threads, open files, mappings, and what it has mapped of /dev/shm. Prints a line for each twentieth
of the run. About 10 minutes on two cores.

Memory is what the process has made itself (RssAnon). Pages of files, such as the libraries', are
not counted: the system takes them and gives them back as it likes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import tiny  # noqa: E402


class Sample(NamedTuple):
    step: int
    seconds: float
    own_mb: float  # anonymous resident memory of the process, MiB
    threads: int
    files: int  # open descriptors
    maps: int  # mappings of memory
    shm: int  # pieces of shared memory that it has mapped
    saved: int  # checkpoints on disk

    def line(self) -> str:
        return (
            f"{self.step:>7} {self.seconds:>8.1f} {self.own_mb:>9.1f} {self.threads:>8} "
            f"{self.files:>6} {self.maps:>6} {self.shm:>4} {self.saved:>6}"
        )


HEAD = "   step  seconds   own MiB  threads  files   maps  shm  saved"


def sample(pid: int, folder: Path, begun: float) -> Sample:
    """What a run holds at the moment. Raises OSError once it has ended."""
    process = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    maps = (process / "maps").read_text().splitlines()
    return Sample(
        step=_last_step(folder),
        seconds=time.monotonic() - begun,
        own_mb=int(status["RssAnon"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        files=len(os.listdir(process / "fd")),
        maps=len(maps),
        shm=sum("/dev/shm/" in line for line in maps),
        saved=sum(path.name.isdecimal() for path in (folder / "checkpoints").iterdir()),
    )


def _last_step(folder: Path) -> int:
    """Of the last whole row of metrics.jsonl; the file's end is enough."""
    try:
        with (folder / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().split(b"\n")[:-1]
        return int(lines[-1].split(b":")[1].split(b",")[0])
    except (OSError, IndexError, ValueError):
        return -1


def watch(command: list[str], folder: Path, every: int) -> list[Sample]:
    """Runs a command and samples it whenever `every` more steps are logged. Kills it on failure."""
    begun, samples = time.monotonic(), []
    process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stderr=subprocess.PIPE)
    try:
        os.set_blocking(process.stderr.fileno(), False)
        said = b""
        while process.poll() is None:
            said = (said + (process.stderr.read() or b""))[-4000:]
            step = _last_step(folder)
            if step >= 0 and (not samples or step >= samples[-1].step + every):
                try:
                    samples.append(sample(process.pid, folder, begun))
                except (OSError, KeyError):  # it has just ended
                    break
            time.sleep(0.01)
        if process.wait():
            raise RuntimeError((said + (process.stderr.read() or b"")).decode())
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    return samples


def _environment() -> dict[str, str]:
    flags = "--xla_backend_optimization_level=0"
    cache = {"JAX_COMPILATION_CACHE_DIR": os.path.join(tempfile.gettempdir(), "tvrl_xla")}
    least = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**cache, **least, **os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def command(root: Path, folder: Path, steps: int, every: int, workers: int) -> list[str]:
    """train.py on the cohort of tests/tiny.py with the smallest encoder."""
    settings = {
        "train.steps": steps,
        "train.checkpoint_every": every,
        "train.batch_size": 4,
        "log.every": every,
        "log.diagnose_every": 10 * every,
        "log.tensorboard": True,
        "data.workers": workers,
        "clips.frames": 2,
        "optim.lr": 1e-4,
    }
    flags = tiny.flags(root, "csimclr", **settings)
    return [sys.executable, "train.py", *flags, f"--workdir={folder}"]


def slope(samples: list[Sample]) -> float:
    """Growth of the memory over the second half, MiB per 1000 steps (least squares)."""
    half = [one for one in samples if one.step >= samples[-1].step / 2]
    x = [one.step / 1000 for one in half]
    y = [one.own_mb for one in half]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mx) ** 2 for a in x)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / max(spread, 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root, folder = Path(place) / "cohort", Path(place) / "run"
        tiny.write_cohort(root)
        line = command(root, folder, given.steps, given.every, given.workers)
        shm = len(os.listdir("/dev/shm"))
        samples = watch(line, folder, given.steps // 20)
        print(HEAD)
        for one in samples:
            print(one.line())
        print(f"/dev/shm: {shm} before, {len(os.listdir('/dev/shm'))} after")
        print(f"growth over the second half: {slope(samples):.3f} MiB per 1000 steps")


if __name__ == "__main__":
    main()
