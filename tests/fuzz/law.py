"""What holds for every input, however damaged: a result or one short sentence, and no harm."""

import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError

MEMORY = 512 << 20  # bytes that an input (all are small files) may cost beyond the start of a fork
LENGTH = 1500  # characters of a sentence
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod")
PLACING = ("os.rename", "os.link", "os.symlink")  # at what is given second
CHANGING += ("os.truncate", "os.chown", "os.utime")
STARTING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn")
STARTING += ("pickle.find_class", "marshal.loads", "socket.connect", "webbrowser.open")


class Target(NamedTuple):
    """`make` writes one input into an empty folder; `use` does with it what a command would."""

    name: str
    make: Callable[[np.random.Generator, Path], object]
    use: Callable[[object], object]
    weight: int = 4  # its share of the inputs


class Broken(Exception):
    """The law does not hold."""


class Watch:
    """Python's own account of what is opened, changed and started (an audit hook stays for the
    life of its process, so this is for forks)."""

    def __init__(self):
        self.inside, self.harm, self.busy = "", [], False
        sys.addaudithook(self._see)

    @contextmanager
    def over(self, folder: Path) -> Iterator[list[str]]:
        """The harm that is done meanwhile; writing is allowed inside `folder` alone."""
        self.inside, self.harm = os.path.realpath(folder), []
        try:
            yield self.harm
        finally:
            self.inside = ""

    def _see(self, event: str, given: tuple) -> None:
        if not self.inside or self.busy:
            return
        self.busy = True
        try:
            if event in STARTING and not self._is_import():
                self.harm.append(f"{event}{given[:2]}"[:200])
            elif event == "open":
                self._see_open(*given)
            elif event in CHANGING:
                for path in given[: 1 + (event in PLACING)]:
                    self._see_path(event, path)
        finally:
            self.busy = False

    @staticmethod
    def _is_import() -> bool:
        """Python's import of a module unmarshals its code."""
        frame = sys._getframe(2)
        while (frame := frame.f_back) and frame.f_code is not check.__code__:
            if "importlib" in frame.f_code.co_filename:
                return True
        return False

    def _see_open(self, path, mode, flags) -> None:
        writes = any(mark in mode for mark in "wax+") if isinstance(mode, str) else flags & WRITING
        if writes and not self._is_import():
            self._see_path("open for writing", path)

    def _see_path(self, event: str, path) -> None:
        if isinstance(path, int) or path == os.devnull:
            return
        real = os.path.realpath(os.fsdecode(path))
        if real != self.inside and not real.startswith(self.inside + os.sep):
            self.harm.append(f"{event} {real}"[:300])


def peak() -> int:
    """Bytes of resident memory that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check(target: Target, given: object, folder: Path, watch: Watch, base: int) -> bool:
    """Whether the input was good; raises Broken where the law does not hold.

    Any other exception than UserError is a traceback on the user's screen, and passes through."""
    good, text = True, ""
    with watch.over(folder) as harm:
        try:
            target.use(given)
        except UserError as error:
            good, text = False, str(error)
    if harm:
        raise Broken(f"harm: {harm[0]}")
    if marker(folder).exists():
        raise Broken("code of the input was executed")
    if peak() - base > MEMORY:
        raise Broken(f"{(peak() - base) >> 20} MiB of memory")
    if not good:
        check_sentence(text)
    return good


def check_sentence(text: str) -> None:
    if not text.strip() or len(text) > LENGTH:
        raise Broken(f"a sentence of {len(text)} characters: {text[:200]!r}")
    if not text.isprintable():
        raise Broken(f"a sentence that does not print on one line: {text[:300]!r}")


def marker(folder: Path) -> Path:
    return folder / "EXECUTED"


class _Payload:
    """Creates the marker when it is unpickled."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def pickled(folder: Path) -> bytes:
    return pickle.dumps(_Payload(marker(folder)))


def listing(folder: Path) -> str:
    """All names, sizes and times below a folder: equal means untouched."""
    return subprocess.run(
        ["find", str(folder), "-printf", "%P %s %T@ %m\n"], capture_output=True, text=True
    ).stdout
