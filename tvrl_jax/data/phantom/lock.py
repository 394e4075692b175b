"""One process at a time in the folder of a cohort, however many were started together."""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tvrl_jax.data.phantom.settings import LOCK, must_be_writable

LOG = logging.getLogger("tvrl_jax")

PATIENCE, PAUSE = 1.0, 0.05  # seconds: waiting in silence, between two looks


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Makes the folder and waits until no other process is in this block.

    The system frees the lock of a process that died. Raises UserError where nothing can be written.
    """
    while True:
        with must_be_writable(root):
            file = _locked(root)
        with file:
            # Whoever had it before us removed the file: who comes next would lock another one.
            if not _is_at(file, root / LOCK):
                continue
            try:
                yield
            finally:
                (root / LOCK).unlink(missing_ok=True)
            return


def _locked(root: Path) -> TextIO:
    root.mkdir(parents=True, exist_ok=True)
    file = (root / LOCK).open("a+")
    try:
        _wait(file, root)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _wait(file: TextIO, root: Path) -> None:
    patient_until = time.monotonic() + PATIENCE
    while not _taken(file, fcntl.LOCK_NB):
        if time.monotonic() > patient_until:
            file.seek(0)
            LOG.warning("%s: waiting for %s, which writes it", root, file.read() or "a process")
            _taken(file)
            return
        time.sleep(PAUSE)


def _taken(file: TextIO, how: int = 0) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    except OSError:
        LOG.debug("%s: the file system knows no locks", file.name)
    return True


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
