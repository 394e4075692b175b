"""metrics.jsonl: one JSON object a line, the record of a run; TensorBoard beside it, if wanted."""

import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tvrl_jax.errors import UserError, reading
from tvrl_jax.files import whole_file
from tvrl_jax.report.board import Board
from tvrl_jax.scalars import is_number, plain

FILE = "metrics.jsonl"
LOG = logging.getLogger("tvrl_jax")


class MetricsLog:
    """Appends rows to `folder`/metrics.jsonl and, with `tensorboard`, to `folder`/tensorboard/.

    A row's step is the number of the update that made it, counted from 0, so a run that resumes
    from the state after `resume_step` updates makes the rows from `resume_step` on again. Those are
    removed when the log is opened; a resumed run then leaves the file of an uninterrupted one.
    Every row reaches the operating system at once: a killed process loses at most a part of one,
    and a machine that loses power none that was written before `sync`.

    A full disk raises UserError. With `on_full`="continue" it is said instead, rows wait in memory
    until there is room (UserError if there is none when the log is closed), and no more is written
    for TensorBoard.
    """

    def __init__(
        self, folder: str | Path, tensorboard: bool, resume_step: int = 0, on_full: str = "stop"
    ):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._on_full = folder / FILE, on_full
        self._waiting: list[bytes] = []
        try:
            truncate(self.path, resume_step)
            self._file = self.path.open("ab", buffering=0)
            self._board = Board(folder / "tensorboard", resume_step) if tensorboard else None
        except OSError as error:
            raise UserError(_sentence(folder, error)) from error

    def write(self, step: int, metrics: Mapping[str, object]) -> None:
        """Adds {"step": step, **metrics}; any library's scalars are taken, NaN and Inf are null."""
        row = {"step": int(step)} | {name: plain(value) for name, value in metrics.items()}
        self._waiting.append((json.dumps(row, allow_nan=False) + "\n").encode())
        try:
            self._append()
        except OSError as error:
            self._full(self.path, error, "its rows are kept until there is room")
        numbers = {k: v for k, v in row.items() if k != "step" and is_number(v)}
        self._on_board(lambda board: board.scalars(step, numbers))

    def sync(self) -> None:
        """Returns when the rows lie on the disk; those that there is no room for go on waiting."""
        with suppress(OSError):  # a disk that is full says so to whoever writes next
            self._append()
        with suppress(OSError):
            os.fsync(self._file.fileno())

    def _append(self) -> None:
        """Writes what waits. Raises OSError, and leaves no part of a row, where there is no room"""
        while self._waiting:
            end = os.fstat(self._file.fileno()).st_size
            try:
                if self._file.write(self._waiting[0]) < len(self._waiting[0]):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                self._file.truncate(end)
                raise
            self._waiting.pop(0)

    def _on_board(self, write: Callable[[Board], None]) -> None:
        if not self._board:
            return
        try:
            write(self._board)
        except OSError as error:
            board, self._board = self._board, None
            with suppress(OSError):
                board.close()
            self._full(self.path.parent / "tensorboard", error, "no more is written there")

    def _full(self, place: Path, error: OSError, what: str) -> None:
        if self._on_full == "stop":
            raise UserError(_sentence(place, error)) from error
        LOG.warning("%s (%s); %s.", place, error.strerror, what)

    def close(self) -> None:
        self._on_board(lambda board: board.close())
        try:
            self._append()
        except OSError as error:
            raise UserError(_sentence(self.path, error)) from error
        finally:
            self._file.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, kind, *exc_info) -> None:
        if not kind:
            self.close()
            return
        with suppress(UserError):  # what went wrong first is told
            self.close()


def _sentence(place: Path, error: OSError) -> str:
    return f"{place} cannot be written ({error.strerror}): make room, and the same command goes on."


class NoLog:
    """What a process keeps whose neighbour writes the log."""

    def write(self, step: int, metrics: Mapping[str, object]) -> None: ...

    def sync(self) -> None: ...

    def __enter__(self) -> "NoLog":
        return self

    def __exit__(self, *exc_info) -> None: ...


def read_metrics(path: str | Path) -> list[dict]:
    """The rows of metrics.jsonl. A last line torn by a kill is left out.

    Raises UserError where the file is missing, or a line before the last is no JSON object.
    """
    return [json.loads(line) for line in _whole_lines(Path(path))]


def truncate(path: str | Path, step: int) -> None:
    """Removes the rows from `step` on, and a torn last line, in one atomic replacement."""
    path = Path(path)
    if not path.exists():
        return
    kept = [line for line in _whole_lines(path) if json.loads(line)["step"] < step]
    whole_file.write(path, "".join(line + "\n" for line in kept))


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path} does not exist; a run folder with a {FILE} is needed.")
    # A kill may cut a character of several bytes in two: the replacement keeps the line readable
    # enough to be recognised as torn.
    with reading(str(path)):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    lines = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    whole = []
    for number, line in lines:
        if _is_row(line):
            whole.append(line)
        elif number != lines[-1][0]:
            raise UserError(
                f'{path} line {number} is no row of metrics: {{"step": 0, ...}} is right.'
            )
    return whole


def _is_row(line: str) -> bool:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and is_number(row.get("step"))
