"""A worker process does not outlive the process that started it."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """Called in a process that `multiprocessing` has spawned: a killed parent runs no clean-up of
    its own, so a thread waits for its end and kills this process then.

    Linux would do that by itself (PR_SET_PDEATHSIG), but for the end of the thread that started the
    process: a pool's threads end before it is closed, and a worker that is killed while it holds a
    lock is waited for without end.
    """
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
