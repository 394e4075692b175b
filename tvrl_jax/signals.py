"""SIGINT and SIGTERM: an exception while a command sets up, a question between two steps."""

import os
import signal
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM)
NOTED = b"stopping as soon as what is done is saved; another signal ends it at once\n"


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


class Interruption:
    """Within this context the first signal is only noted; a second one ends the process at once."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}
        earlier = getattr(self._before[signal.SIGINT], "__self__", None)
        if isinstance(earlier, Remembered) and earlier.seen:
            self.number = signal.SIGINT
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        os.write(2, NOTED)  # print is not safe here: the signal may have come in the midst of one
        for handled in HANDLED:
            signal.signal(handled, signal.SIG_DFL)

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.number != 0

    def leave(self) -> None:
        """Ends with the exit code that a shell expects after a signal."""
        raise SystemExit(128 + self.number)
