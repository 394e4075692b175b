"""The line in the terminal: which cells run, how far they are, and how long all of them take."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from tvrl_jax.comparison.plan import TRAIN, Cell
from tvrl_jax.comparison.record import Record
from tvrl_jax.report.progress import duration

TAIL = 4096  # bytes of the log in which the last line is looked for


class Board:
    """A line for every cell that begins or ends; on a terminal, one that is redrawn between."""

    def __init__(
        self,
        cells: Sequence[Cell],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        jobs: int = 1,
    ):
        self._left = list(cells)
        self._total = len(cells)
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._clock = clock
        self._start = clock()
        self._took: dict[bool, list[float]] = {True: [], False: []}  # key: is it a pretraining
        self._running: dict[Cell, tuple[Path, float]] = {}  # its log, and when it began
        self._jobs = jobs  # cells at once

    def kept(self, cell: Cell) -> None:
        self._left.remove(cell)
        self._say(f"{self._count()} {cell.name}: done before")

    def begun(self, cell: Cell, log: Path) -> None:
        self._running[cell] = (log, self._clock())
        self._say(f"{self._count()} {cell.name} ... {log}")

    def ended(self, cell: Cell, made: Record) -> None:
        self._left.remove(cell)
        _, begun = self._running.pop(cell, (None, None))
        what = f"failed: {made.reason}" if made.code else f"done in {duration(made.seconds)}"
        if begun is not None and not made.code:
            took = self._clock() - begun
            self._took[cell.kind == TRAIN].append(took)
            if made.seconds - took >= 1:
                what += f", {duration(made.seconds - took)} of them before this start"
        self._say(f"{self._count()} {cell.name}: {what}  {self._times()}")

    def update(self) -> None:
        """Redraws the line; `run` calls this twice a second."""
        if self._live and self._running:
            cell, (log, begun) = next(iter(self._running.items()))
            others = len(self._running) - 1
            text = (
                f"{self._count()} {cell.name} {duration(self._clock() - begun)}"
                f"{f' and {others} more' if others else ''}  {self._times()}  {last_line(log)}"
            )
            width = max(shutil.get_terminal_size().columns - 1, 20)
            self._stream.write("\r\x1b[K" + text[:width])
            self._stream.flush()

    def stopped(self) -> None:
        """By a signal, before all was done."""
        self._say("stopped; the same command goes on from here")

    def _count(self) -> str:
        return f"[{self._total - len(self._left) + len(self._running)}/{self._total}]"

    def _times(self) -> str:
        left = self.remaining()
        known = "" if left is None else f", left about {duration(left)}"
        return f"(elapsed {duration(self._clock() - self._start)}{known})"

    def remaining(self) -> float | None:
        """Seconds, if what is left takes as long as its like took; None before there is any."""
        total = 0.0
        for cell in self._left:
            took = self._took[cell.kind == TRAIN]
            if not took:
                return None
            total += sum(took) / len(took)
        total -= sum(self._clock() - begun for _, begun in self._running.values())
        return max(total, 0.0) / self._jobs

    def _say(self, text: str) -> None:
        self._stream.write(("\r\x1b[K" if self._live else "") + text + "\n")
        self._stream.flush()


def last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - TAIL, 0))
        text = file.read().decode("utf-8", errors="replace")
    return text.replace("\r", "\n").rstrip().rpartition("\n")[2]
