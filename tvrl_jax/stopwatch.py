"""Rates between two log lines."""

import contextlib
import time


class Stopwatch:
    """Counts steps and the seconds spent waiting for data since the last reading."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

    @contextlib.contextmanager
    def waiting(self):
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    def step(self) -> None:
        self._steps += 1

    def read(self, clips_per_step: int) -> dict[str, float]:
        """Steps and clips per second and the share of time spent waiting for data; restarts.

        Nothing where no step was made since the last reading, as of two that follow each other.
        """
        if not self._steps:
            return {}
        seconds = max(time.perf_counter() - self._start, 1e-9)
        rates = {
            "steps_per_second": self._steps / seconds,
            "clips_per_second": self._steps * clips_per_step / seconds,
            "data_wait_share": self._waited / seconds,
        }
        self._restart()
        return rates
