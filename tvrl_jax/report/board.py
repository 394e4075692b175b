"""TensorBoard's event file, written by the caller: no thread, so an error comes where it arises."""

import os
import time
from pathlib import Path

FLUSH_S = 60.0  # seconds between two moments at which the disk is up to date


class Board:
    """One event file in `folder`. What earlier files hold from `first_step` on is hidden.

    `scalars`, `image` and `close` raise OSError when the disk is full.
    """

    def __init__(self, folder: Path, first_step: int):
        from tensorboardX.event_file_writer import EventsWriter  # 0.2 s, for those who want it
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        start = SessionLog(status=SessionLog.START)
        self._write(Event(step=first_step, wall_time=time.time(), session_log=start))
        self._flushed = time.monotonic()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._add(step, scalar(name, value))
        if time.monotonic() - self._flushed >= FLUSH_S:
            self._writer.flush()
            self._flushed = time.monotonic()

    def _add(self, step: int, summary) -> None:
        self._write(self._event(step=step, wall_time=time.time(), summary=summary))

    def _write(self, event) -> None:
        self._writer.write_event(event)

    def close(self) -> None:
        self._writer.close()
