"""The processes of one run in touch: they agree on values, stop at one step and end together.

A star of TCP connections around process 0, one JSON object a line, beside JAX's own runtime. That
one hangs for minutes when a process raises, and names nobody when one is lost. A thread listens; it
ends the process when another one has ended, whatever the main thread is waiting for.
"""

import contextlib
import json
import os
import select
import selectors
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

BEATS = 6  # signs of life within the time after which a silent process counts as lost
FAREWELL = 2.0  # seconds for the others to hear why a process ends
LOST = "start all processes again, and the run continues from its newest checkpoint"


class Alone:
    """A process that is the whole run."""

    index, count = 0, 1
    on_stop = staticmethod(lambda number: None)  # called with a signal once all are to stop

    def agree(self, value: Any, combine: Callable[[list], Any] = lambda values: None) -> Any:
        """`combine` of every process's value, by index. All must call it, in the same order.

        Process 0 combines; values and result travel as JSON. What `combine` raises ends them all.
        """
        return combine([value])

    def first(self, job: Callable[[], Any]) -> Any:
        """What `job` returns; process 0 has done it before the others begin."""
        return job()

    def ask(self, number: int) -> None:
        """Signal `number` came: all processes are to save and stop. Any thread may call it."""

    def stopping(self, done: int, number: int = 0) -> int:
        """The signal for which all stop after `done` steps; 0: go on.

        To be called before the first and after each step. `number`: a signal that came here.
        """
        return number

    def leave(self, code: int, sentence: str, say: Callable[[], None] = lambda: None) -> None:
        """Ends the others for the reason of this process, then this one.

        `say` tells the user; not where another process was the reason before: it has been told.
        """
        say()

    def part(self) -> None:
        """The run is over for all: from now on they may end one by one. Waits for all of them."""


ALONE = Alone()


class Star(Alone):
    """One of several processes.

    Args:
      index: of this process, below `count`.
      connections: by index, of all others on process 0, else of process 0. After the handshake.
      names: host and process id of the processes that are connected with.
      timeout: seconds of silence after which a process counts as lost.
      start: seconds that its first sign of life may take, which process 0 gives when all are here.
    """

    def __init__(
        self,
        index: int,
        count: int,
        connections: dict[int, socket.socket],
        names: dict[int, str],
        timeout: float,
        start: float = 0.0,
    ):
        self.index, self.count = index, count
        self._connections, self._names, self._timeout = connections, names, timeout
        self._changed = threading.Condition()
        self._turn = 0  # of agree
        self._values: dict[int, dict[int, Any]] = {}
        self._results: dict[int, Any] = {}
        self._signal = 0  # for which all are to stop
        self._next = 0  # steps after which this process asks `stopping` again
        self._nexts: dict[int, int] = {}
        self._until = -1  # steps after which all stop; negative: not known yet
        self._parted: set[int] = set()
        self._ending = threading.Lock()  # taken once, by the first reason to end
        self._sending = {other: threading.Lock() for other in connections}
        self._heard = dict.fromkeys(connections, time.monotonic() + start)
        self._unread = {other: bytearray() for other in connections}
        self._selector = selectors.DefaultSelector()
        for other, connection in connections.items():
            connection.settimeout(timeout)  # one that takes nothing for so long is lost
            self._selector.register(connection, selectors.EVENT_READ, other)
        threading.Thread(target=self._listen, name="peers", daemon=True).start()

    def agree(self, value: Any, combine: Callable[[list], Any] = lambda values: None) -> Any:
        self._turn += 1
        turn = self._turn
        if self.index:
            self._send(0, turn=turn, value=value)
            with self._changed:
                self._changed.wait_for(lambda: turn in self._results)
                return self._results.pop(turn)
        with self._changed:
            self._values.setdefault(turn, {})[0] = value
            self._changed.wait_for(lambda: len(self._values[turn]) == self.count)
            values = self._values.pop(turn)
        result = combine([values[i] for i in range(self.count)])
        self._tell(turn=turn, result=result)
        return result

    def first(self, job: Callable[[], Any]) -> Any:
        made = None if self.index else job()
        self.agree(None)
        return job() if self.index else made

    def ask(self, number: int) -> None:
        if self.index:
            self._send(0, ask=number)
        else:
            self._stop(number)

    def stopping(self, done: int, number: int = 0) -> int:
        """All stop at the largest of the numbers that they would next ask for, so at one step.

        The thread answers for the process, at once. Else one that waits here and one that waits
        for it in a step would wait for each other.
        """
        if number and not self._signal:
            self.ask(number)
        with self._changed:
            if number or self._signal:
                self._changed.wait_for(lambda: self._until >= 0)
                if done >= self._until:
                    return self._signal
            self._next = done + 1
        return 0

    def leave(self, code: int, sentence: str, say: Callable[[], None] = lambda: None) -> None:
        self._ending.acquire()  # never to return where another process is the reason to end
        say()
        self._tell(end=code, why=f"process {self.index} of {self.count} ({name()}): {sentence}")
        deadline = time.monotonic() + FAREWELL
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.02)  # who ends first breaks what the others read from
        end(code)

    def part(self) -> None:
        self.agree(None)
        self._tell(bye=True)

    def _stop(self, number: int) -> None:
        """Process 0: asks all when they could stop."""
        with self._changed:
            if self._signal:
                return
        self._tell(stop=number)
        self._answer(number)

    def _answer(self, number: int) -> None:
        with self._changed:
            self._signal, after = number, self._next
            self._changed.notify_all()
        if self.index:
            self._send(0, next=after)
        else:
            self._collect(0, after)
        self.on_stop(number)

    def _collect(self, other: int, after: int) -> None:
        with self._changed:
            self._nexts[other] = after
            if len(self._nexts) < self.count:
                return
            self._until = max(self._nexts.values())
            self._changed.notify_all()
        self._tell(until=self._until)

    def _listen(self) -> None:
        try:
            self._attend()
        except Exception as error:  # without this thread the process would notice nothing any more
            traceback.print_exc()
            self.leave(1, f"{type(error).__name__}: {error}")

    def _attend(self) -> None:
        beat = time.monotonic()
        while self._connections:
            for key, _ in self._selector.select(self._timeout / BEATS):
                self._read(key.data)
            if time.monotonic() - beat >= self._timeout / BEATS:
                beat = time.monotonic()
                self._beat()
                self._miss(beat)

    def _beat(self) -> None:
        """A sign of life. Waits for none that takes no more: the others would be forgotten."""
        for other, connection in self._connections.items():
            takes = select.poll()
            takes.register(connection, select.POLLOUT)
            if takes.poll(0) and not self._sending[other].locked():
                self._send(other)

    def _read(self, other: int) -> None:
        try:
            content = self._connections[other].recv(1 << 16)
        except OSError:
            content = b""
        if not content:
            self._drop(other)
            return
        self._heard[other] = time.monotonic()
        self._unread[other] += content
        if b"\n" not in content:
            return
        *lines, self._unread[other] = self._unread[other].split(b"\n")
        for line in lines:
            self._hear(other, json.loads(line))

    def _hear(self, other: int, said: dict) -> None:
        if "end" in said:
            self._fall(said["end"], said["why"], other)
        elif "bye" in said:
            self._parted.add(other)
        elif "ask" in said:
            self._stop(said["ask"])
        elif "stop" in said:
            self._answer(said["stop"])
        elif "next" in said:
            self._collect(other, said["next"])
        with self._changed:
            if "until" in said:
                self._until = said["until"]
            elif "value" in said:
                self._values.setdefault(said["turn"], {})[other] = said["value"]
            elif "result" in said:
                self._results[said["turn"]] = said["result"]
            self._changed.notify_all()

    def _drop(self, other: int) -> None:
        connection = self._connections.pop(other)
        self._selector.unregister(connection)
        connection.close()
        if other not in self._parted:
            self._lose(other, "ended without a word: it was killed, or its machine is gone")

    def _miss(self, now: float) -> None:
        for other in set(self._connections) - self._parted:
            if now - self._heard[other] > self._timeout:
                self._lose(other, f"has not been heard from for {self._timeout:g} s")

    def _lose(self, other: int, how: str) -> None:
        who = f"process {other} of {self.count} ({self._names[other]})"
        self._fall(1, f"{who} {how}; {LOST}.", other)

    def _fall(self, code: int, why: str, other: int) -> None:
        """Ends this process because of another one; process 0 tells the rest before."""
        if not self._ending.acquire(blocking=False):
            return
        os.write(2, f"error: {why}\n".encode())
        rest = {i: c for i, c in self._connections.items() if i != other}
        for one in rest:  # and not `other`, which may never take it
            self._send(one, end=code, why=why)
        deadline = time.monotonic() + FAREWELL
        for connection in rest.values():
            _await_end(connection, deadline)
        end(code)

    def _send(self, other: int, **said: Any) -> None:
        try:
            with self._sending[other]:
                self._connections[other].sendall(json.dumps(said).encode() + b"\n")
        except TimeoutError:  # nothing can follow half a line
            with contextlib.suppress(OSError, KeyError):
                self._connections[other].shutdown(socket.SHUT_RDWR)
        except (OSError, KeyError):
            pass  # it is gone: the thread that listens finds out, and says so

    def _tell(self, **said: Any) -> None:
        for other in list(self._connections):
            self._send(other, **said)


def farewell(connections: Iterable[socket.socket], code: int, why: str) -> None:
    """Tells processes that wait to be welcome that the run ends, and why."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps({"end": code, "why": why}).encode() + b"\n")


def name() -> str:
    """What tells this process apart for a reader of the log."""
    return f"{socket.gethostname()}, process id {os.getpid()}"


def _await_end(connection: socket.socket, deadline: float) -> None:
    try:
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(1 << 16):
                return
    except OSError:
        pass


def end(code: int) -> None:
    """At once: an orderly end would wait for processes that are gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
