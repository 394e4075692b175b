"""One job per subject, on one core or on several, with results in order."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from tvrl_jax.data import orphan

FEW = 24  # subjects that one process writes sooner than others start


def each(job: Callable, subjects: int, processes: int | None) -> Iterator:
    """job(0), job(1), ... in order. Workers are spawned: they inherit neither threads nor
    accelerators. `processes` None: one per available core, unless the subjects are few."""
    count = min(processes or _cores(), subjects)
    if count == 1 or (processes is None and subjects <= FEW):
        yield from map(job, range(subjects))
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, spawn, _start) as pool:
        try:
            yield from pool.map(job, range(subjects), chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _start() -> None:
    """Leaves Ctrl-C to the parent, and dies with it: who writes on would get in the next writer's
    way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orphan.end_with_parent()
