"""The line in the terminal: how far, how fast, how long still, and how well."""

import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TextIO

from tvrl_jax.scalars import is_number, plain

SHOWN = ("loss", "top1", "mean_rank", "effective_rank")
RATE_WINDOW_S = 30.0  # the rate is that of the last half minute: it follows a changing load
REDRAW_S = 0.2  # of the updating line
PLAIN_S = 1.0  # between two lines in a log file, however short the log interval is
SILENCE_S = 30.0  # a log file hears at least this often from a run with a long log interval


class Progress:
    """Prints the progress of `total` steps of `clips` clips each (series x views) to `stream`.

    On a terminal one line is redrawn; elsewhere a plain line is written when `update` brings
    metrics, no more often than every second, and without metrics every half minute. `update` is
    cheap enough to be called at every step.
    """

    def __init__(
        self,
        total: int,
        clips: int,
        start_step: int = 0,
        shown: tuple[str, ...] = SHOWN,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        silent: bool = False,
    ):
        self._total, self._clips, self._shown = total, clips, shown
        self._stream = sys.stderr if stream is None else stream
        if silent:  # a process whose neighbour speaks for both
            self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self._live = self._stream.isatty()
        self._clock = clock
        self._begun = clock()
        self._last_print = float("-inf")
        self._marks: deque[tuple[float, int]] = deque()
        self._metrics: dict[str, float] = {}
        self._step = start_step
        self._drawn = False

    def update(self, done: int, metrics: Mapping[str, object] | None = None) -> None:
        """`done` steps are finished; `metrics`, when there are new ones, replace those shown."""
        now = self._clock()
        self._step = done
        self._mark(now, done)
        if metrics is not None:
            self._metrics = {name: plain(metrics[name]) for name in self._shown if name in metrics}
        if self._due(now, fresh=metrics is not None, last=done >= self._total):
            self._print(now)

    def begin(self) -> None:
        """The first line, before there is a step: compiling takes its time."""
        self._print(self._clock())

    def message(self, text: str) -> None:
        """A line of its own ("compiling the step"), which leaves the progress line whole."""
        self._stream.write(("\r\x1b[K" if self._drawn else "") + text + "\n")
        self._drawn = False
        self._stream.flush()

    def close(self) -> None:
        """Ends the updating line, so that what follows starts on a line of its own."""
        if self._drawn:
            self._stream.write("\n")
            self._stream.flush()
        self._drawn = False

    def line(self) -> str:
        """The text of the line."""
        now = self._clock()
        rate = self._rate()
        width = len(str(self._total))
        parts = [
            f"step {self._step:>{width}}/{self._total}",
            f"{100 * self._step // max(self._total, 1):>3} %",
            *([] if self._marks else ["compiling"]),
            *([f"{rate:.3g} steps/s  {rate * self._clips:,.0f} clips/s"] if rate else []),
            f"elapsed {duration(now - self._begun)}",
            *([f"left {duration((self._total - self._step) / rate)}"] if rate else []),
            *(f"{name} {_number(value)}" for name, value in self._metrics.items()),
        ]
        return "  ".join(parts)

    def _mark(self, now: float, done: int) -> None:
        # The first mark is the end of the first step, so compilation does not count as slowness.
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - RATE_WINDOW_S:
            self._marks.popleft()

    def _rate(self) -> float:
        if len(self._marks) < 2 or self._marks[-1][0] <= self._marks[0][0]:
            return 0.0
        (first_time, first_step), (last_time, last_step) = self._marks[0], self._marks[-1]
        return (last_step - first_step) / (last_time - first_time)

    def _due(self, now: float, fresh: bool, last: bool) -> bool:
        waited = now - self._last_print
        if self._live:
            return last or waited >= REDRAW_S
        return (fresh and (last or waited >= PLAIN_S)) or waited >= SILENCE_S

    def _print(self, now: float) -> None:
        if self._live:
            # A line longer than the terminal would wrap and no longer be redrawn in place.
            text = self.line()[: max(shutil.get_terminal_size().columns - 1, 20)]
            self._stream.write("\r\x1b[K" + text)
        else:
            self._stream.write(self.line() + "\n")
        self._drawn = self._live
        self._last_print = now
        self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(max(seconds, 0.0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _number(value: object) -> str:
    return f"{value:.4g}" if is_number(value) else str(value)
