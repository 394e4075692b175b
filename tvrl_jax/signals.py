"""SIGINT and SIGTERM as a question that the loop asks between two steps."""

import signal
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within this context the first signal is only noted; a second one ends the process at once."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
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
