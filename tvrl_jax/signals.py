"""SIGINT and SIGTERM: an exception while a command sets up, a question between two steps."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from tvrl_jax.peers import ALONE, Alone, end

HANDLED = (signal.SIGINT, signal.SIGTERM)
NOTED = b"stopping as soon as what is done is saved; another signal ends it at once\n"
LATE = (
    b"error: what was done could not be saved within train.grace = %g s; the newest checkpoint is \
an earlier one\n"
)
NOTHING = b"no step was finished within train.grace = %g s; there was nothing to save\n"
FROM_ELSEWHERE = 128  # beside a signal's number: it came to another process


class Remembered:
    """Within this context SIGINT raises KeyboardInterrupt and stays known.

    A library that is being imported, or that calls back into Python, may swallow the exception or
    turn it into another one.
    """

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> "Remembered":
        self._before = signal.signal(signal.SIGINT, self.interrupt)
        return self

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def __exit__(self, *exception) -> None:
        signal.signal(signal.SIGINT, self._before)


def _end(number: int, frame: FrameType | None) -> None:
    """As the system ends a process that handles no signals."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class Interruption:
    """Within this context the first signal is only noted; a second one ends the process at once.

    Args:
      grace: seconds from the signal to the end, whatever is under way; 0 sets no limit.
      peers: the processes that stop together.
    """

    def __init__(self, grace: float = 0.0, peers: Alone = ALONE) -> None:
        self.number, self.peers = 0, peers
        self.stepped = False  # whether there is anything to save that was not there at the start
        self._grace = Grace(grace, peers.ask, lambda: self.stepped) if grace else None

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}
        earlier = getattr(self._before[signal.SIGINT], "__self__", None)
        if isinstance(earlier, Remembered) and earlier.seen:
            self.number = signal.SIGINT
        if self._grace:
            self._grace.__enter__()
            self.peers.on_stop = self._grace.begin
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        os.write(2, NOTED)  # print is not safe here: the signal may have come in the midst of one
        # Not the system's own way at once: a second signal may be on its way to Python already,
        # which would find no handler and complain.
        for handled in HANDLED:
            signal.signal(handled, _end)

    def __exit__(self, *exception) -> None:
        if self._grace:
            self._grace.__exit__(*exception)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stops_after(self, done: int) -> bool:
        """Whether all processes are to stop after `done` steps; to be asked before and after each.

        A signal at any of them is one at all, and they stop at the same step.
        """
        number = self.peers.stopping(done, self.number)
        self.number = number or self.number
        return number != 0

    def __bool__(self) -> bool:
        return self.number != 0

    def leave(self) -> None:
        """Ends with the exit code that a shell expects after a signal."""
        raise SystemExit(128 + self.number)


class Grace:
    """Within this context a first signal starts a clock; the process ends when it has run down.

    A thread learns of the signal at once, even where the main one is held up in compiled code.

    Args:
      seconds: from the signal to the end.
      heard: called in that thread with the number of a signal that came here.
      loses: whether something is lost by an end that comes now.
    """

    def __init__(self, seconds: float, heard: Callable[[int], None], loses: Callable[[], bool]):
        self._seconds, self._heard, self._loses = seconds, heard, loses
        self._writing, self._open = threading.Lock(), False

    def __enter__(self) -> "Grace":
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="grace", daemon=True)
        self._thread.start()
        self._open = True
        return self

    def begin(self, number: int) -> None:
        """Starts the clock for a signal that came to another process."""
        with self._writing:
            if self._open:
                os.write(self._write, bytes([FROM_ELSEWHERE | number]))

    def _watch(self) -> None:
        number = self._next()
        if not number:
            return
        here = not number & FROM_ELSEWHERE
        number &= ~FROM_ELSEWHERE
        if here:
            self._heard(number)
        deadline = time.monotonic() + self._seconds
        while select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
            again = self._next()
            if not again:
                return
            if again & FROM_ELSEWHERE:
                continue
            # A launcher signals every process, and word from another may have come first: only
            # the second signal here is a second one.
            if here:
                end(128 + number)
            here = True
        os.write(2, (LATE if self._loses() else NOTHING) % self._seconds)
        end(128 + number)

    def _next(self) -> int:
        """A signal's number; 0 at the end."""
        while (number := os.read(self._read, 1)[0]) & ~FROM_ELSEWHERE not in (0, *HANDLED):
            pass
        return number

    def __exit__(self, *exception) -> None:
        signal.set_wakeup_fd(self._before)
        with self._writing:
            self._open = False
        os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)
