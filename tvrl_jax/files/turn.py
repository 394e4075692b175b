"""One process at a time in a folder, however many came together; the others wait for it."""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOG = logging.getLogger("tvrl_jax")

PATIENCE, PAUSE = 1.0, 0.05  # seconds: waiting in silence, between two looks


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Waits until no other process is in this block, for this folder and the lock file `name`.

    The system frees the lock of a process that died. Raises OSError where nothing can be written.
    """
    while True:
        with _locked(folder / name) as file:
            # Whoever had it before us removed the file: who comes next would lock another one.
            if not _is_at(file, folder / name):
                continue
            try:
                yield
            finally:
                (folder / name).unlink(missing_ok=True)
            return


def _locked(path: Path) -> TextIO:
    file = path.open("a+")
    try:
        _wait(file, path.parent)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _wait(file: TextIO, folder: Path) -> None:
    patient_until = time.monotonic() + PATIENCE
    while not taken(file, fcntl.LOCK_NB):
        if time.monotonic() > patient_until:
            file.seek(0)
            LOG.warning("%s: waiting for %s, which writes it", folder, file.read() or "a process")
            taken(file)
            return
        time.sleep(PAUSE)


def taken(file: TextIO | int, how: int = 0) -> bool:
    """Whether the lock of a file is ours, now or (how = fcntl.LOCK_NB) at once; it is, too, where
    the file system knows no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    except OSError as error:
        LOG.debug("the file system knows no locks (%s)", error)
    return True


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
