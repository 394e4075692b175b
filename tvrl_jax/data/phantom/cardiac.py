"""Writes a synthetic short-axis cine cohort with known physiology as ordinary files."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from tvrl_jax.data.phantom import settings
from tvrl_jax.data.phantom.nifti import encode, replace
from tvrl_jax.data.phantom.subject import draw, pictures, row

FEW = 24  # subjects that one process writes sooner than others start


def write(
    root: str | os.PathLike,
    *,
    kind: str,
    subjects: int,
    seed: int,
    size: int,
    nuisance: str,
    progress: bool = True,
    processes: int | None = None,
) -> None:
    """Fills `root` with images/, masks/, cohort.csv and, last, phantom.json with the settings.

    One 50-frame gzipped NIfTI [size, size, 1, 50] int16 and one uint8 mask (1 cavity, 2
    myocardium) per subject. Returns at once if `root` holds this very cohort; goes on where an
    interrupted call stopped. The files are the same for any number of `processes` (None: one per
    available core). One writer at a time. Raises UserError for settings that make no sense and
    for a folder that holds anything else.
    """
    chosen = settings.checked(kind=kind, subjects=subjects, seed=seed, size=size, nuisance=nuisance)
    root = Path(root).expanduser()
    if not settings.claim(root, chosen):
        return
    for name in ("images", "masks"):
        (root / name).mkdir(exist_ok=True)
    job = partial(_write_subject, root, seed, size, nuisance)
    every = 0.2 if sys.stderr.isatty() else 10.0  # seconds: a log file needs no animation
    name = f"writing {root}"
    with tqdm(total=subjects, desc=name, disable=not progress, mininterval=every) as bar:
        rows = [(bar.update(), r)[1] for r in _each(job, subjects, processes)]
    table = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    replace(root / "cohort.csv", table.encode())
    settings.seal(root)


def _cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and dies with it even when it is killed (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _each(job, subjects: int, processes: int | None) -> Iterator[dict]:
    """Rows in order. Workers are spawned: they inherit neither threads nor accelerators."""
    count = min(processes or _cores(), subjects)
    if count == 1 or (processes is None and subjects <= FEW):
        yield from map(job, range(subjects))
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, spawn, _start_worker) as pool:
        try:
            yield from pool.map(job, range(subjects), chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def _write_subject(root: Path, seed: int, size: int, nuisance: str, index: int) -> dict:
    """The subject's row; its files are written unless both are there (then they are whole)."""
    subject = draw(seed, index, size=size, nuisance=nuisance)
    line = row(subject)
    if not all((root / line[c]).exists() for c in ("path", "mask")):
        frames, mask = pictures(subject, size, seed, index)
        for column, array in (("path", frames), ("mask", mask)):
            content = encode(array, subject.look.spacing, subject.interval)
            replace(root / line[column], content)
    return line
