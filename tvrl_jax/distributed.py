"""How the processes of one run start and end, on a cluster or from three flags."""

import contextlib
import importlib.util
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from tvrl_jax.errors import UserError, verdict
from tvrl_jax.peers import Alone, Star, end, farewell, name

PATIENCE = 3.0  # seconds in which an error may turn out to be the echo of a lost process
HELLO = 5.0  # seconds in which a process that connects says its name
CALLS = 0.8  # part of distributed.start in which a process calls process 0
NOTE = 1024  # bytes of the note that tells where process 0 can be reached


class Place(NamedTuple):
    """What the flags say; None where the cluster is to say it."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


@contextlib.contextmanager
def started(place: Place, *, start: float, timeout: float) -> Iterator[Alone]:
    """The processes of this run, for as long as the context lasts.

    One process, unless the flags or the environment (SLURM, Open MPI, Cloud TPU) speak of several.
    An exception ends them all, with its sentence and exit code.

    Args:
      start: seconds to wait for all processes.
      timeout: seconds of silence after which a process counts as lost.

    Raises UserError for flags that make no sense and for a process 0 that cannot be reached.
    """
    _initialize(complete(place, os.environ), start, timeout)
    if jax.process_count() == 1:
        yield Alone()
        return
    peers = Alone()
    try:
        peers = _meet(place.coordinator, start, timeout)
        if peers.index:  # process 0 says what all of them would say
            logging.getLogger("tvrl_jax").setLevel(logging.ERROR)
        yield peers
    except SystemExit:  # after a signal, which all have heard of
        peers.part()
        raise
    except BaseException as error:
        _leave(peers, error)
    peers.part()
    jax.distributed.shutdown()


def complete(place: Place, environment: Mapping[str, str]) -> Place | None:
    """The place of this process: from the flags, the rest from SLURM or Open MPI.

    None for a run of one process; all fields None where JAX is to find out by itself.
    """
    count, index = _from_scheduler(environment)
    if place == Place(None, None, None):
        return place if count > 1 or _is_tpu_host() else None
    if place.coordinator is None:
        raise UserError("--num_processes and --process_id need --coordinator=HOST:PORT.")
    host, colon, port = place.coordinator.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))  # IPv6
    if bare or not (host and colon and port.isdecimal() and 0 < int(port) < 2**16):
        raise UserError(
            f"--coordinator={place.coordinator}: say HOST:PORT, or [ADDRESS]:PORT in IPv6: an "
            "address of the machine of process 0 and a port that is free there."
        )
    if (place.num_processes is None or place.process_id is None) and count < 2:
        raise UserError("--coordinator needs --num_processes and --process_id besides.")
    count = count if place.num_processes is None else place.num_processes
    index = index if place.process_id is None else place.process_id
    if count < 1:
        raise UserError(f"--num_processes={count}: a run has at least 1.")
    if not 0 <= index < count:
        raise UserError(
            f"--process_id={index}: of {count} processes each has another number from 0 to "
            f"{count - 1}."
        )
    return Place(place.coordinator, count, index) if count > 1 else None


def _from_scheduler(environment: Mapping[str, str]) -> tuple[int, int]:
    """How many tasks a launcher has started, and which is this one; (1, 0) without a launcher."""
    for count, index in (
        ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ):
        if environment.get(count, "").isdecimal() and environment.get(index, "").isdecimal():
            return int(environment[count]), int(environment[index])
    return 1, 0


def refuse_several(environment: Mapping[str, str], command: str) -> None:
    """Raises UserError where a launcher has started several tasks of a command that is one."""
    count, _ = _from_scheduler(environment)
    if count > 1:
        raise UserError(
            f"{command} is one process and was started {count} times: start it once "
            "(srun --ntasks=1, mpirun -n 1)."
        )


def _is_tpu_host() -> bool:
    wanted = os.environ.get("JAX_PLATFORMS", "tpu")
    return "tpu" in wanted and importlib.util.find_spec("libtpu") is not None


def _initialize(place: Place | None, start: float, timeout: float) -> None:
    if place is None:
        return
    # It would take SIGTERM from us, and act on nothing else.
    jax.config.update("jax_enable_preemption_service", False)
    late = threading.Timer(start, _give_up, (place, start))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            *place,
            initialization_timeout=int(start) + 60,  # it aborts with a C++ trace; we speak before
            heartbeat_timeout_seconds=2 * int(timeout) + 10,  # so that we notice first
            shutdown_timeout_seconds=int(timeout) + 10,
        )
    except ValueError as error:
        if _from_scheduler(os.environ)[0] == 1:
            return  # libtpu is installed, but this is no TPU
        raise UserError(
            f"JAX cannot tell where its processes are ({str(error).splitlines()[0].rstrip('.')}): "
            "say --coordinator=HOST:PORT."
        ) from error
    finally:
        late.cancel()


def _give_up(place: Place, start: float) -> None:
    who = "" if place.process_id is None else f"process {place.process_id}: "
    others = "the" if place.num_processes is None else f"all {place.num_processes}"
    where = "" if place.coordinator is None else f" at --coordinator={place.coordinator}"
    said = f"error: {who}{others} processes did not meet{where} within distributed.start = "
    os.write(2, f"{said}{start:g} s; start all of them, and see that they reach it.\n".encode())
    os._exit(2)


def _meet(coordinator: str | None, start: float, timeout: float) -> Star:
    index, count = jax.process_index(), jax.process_count()
    if index == 0:
        with _listening(count) as server:
            token = secrets.token_hex(8)
            port, at = server.getsockname()[1], _addresses(coordinator)
            _broadcast({"at": at, "port": port, "token": token, "name": name()})
            connections, names = welcome(server, count, token, start)
    else:
        note = _broadcast({})
        connections, names = {0: _call(note, index, start)}, {0: note["name"]}
    for connection in connections.values():
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Star(index, count, connections, names, timeout, start)


def _listening(count: int) -> socket.socket:
    """A server at a free port of every address, of IPv6, too, where the machine has it."""
    if socket.has_dualstack_ipv6():
        both = dict(family=socket.AF_INET6, dualstack_ipv6=True)
        with contextlib.suppress(OSError):  # switched off in the kernel
            return socket.create_server(("", 0), backlog=count, **both)
    return socket.create_server(("", 0), backlog=count)


def _addresses(coordinator: str | None) -> list[str]:
    """Under which other machines may reach this one, the likeliest first."""
    found = [coordinator.rpartition(":")[0].strip("[]")] if coordinator else []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # sends nothing; tells the address of the way out
            found.append(probe.getsockname()[0])
    return list(dict.fromkeys([*found, socket.gethostname()]))


def _broadcast(note: dict) -> dict:
    """Process 0's note, on every process."""
    content = json.dumps(note).encode()
    padded = np.frombuffer(content.ljust(NOTE), np.uint8)
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))))


def welcome(server: socket.socket, count: int, token: str, start: float):
    """Connections and names of all others, by index."""
    connections, names, deadline = {}, {}, time.monotonic() + start
    while len(connections) < count - 1:
        server.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            connection = server.accept()[0]
        except TimeoutError:
            missing = sorted(set(range(1, count)) - set(connections))
            error = UserError(
                f"process {missing[0]} of {count} cannot reach process 0 ({name()}): let the "
                "machines of a run reach each other at every port."
            )
            farewell(connections.values(), 2, str(error))
            raise error from None
        try:
            hello = json.loads(_line(connection, time.monotonic() + HELLO))
        except (OSError, ValueError):  # a stranger, one that says nothing too
            continue
        if isinstance(hello, dict) and hello.get("token") == token:
            connection.settimeout(None)
            connections[hello["index"]], names[hello["index"]] = connection, hello["name"]
    return connections, names


def _line(connection: socket.socket, deadline: float) -> bytes:
    """The first line, and nothing of what follows: a quick process has more to say by then."""
    line = b""
    while not line.endswith(b"\n") and len(line) < NOTE:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        line += connection.recv(1) or b"\n"
    return line


def _call(note: dict, index: int, start: float) -> socket.socket:
    """A connection with process 0."""
    # Before process 0 gives up: its end would take JAX's runtime along, and this sentence.
    deadline = time.monotonic() + CALLS * start
    while time.monotonic() < deadline:
        for address in note["at"]:
            with contextlib.suppress(OSError):
                connection = socket.create_connection((address, note["port"]), timeout=5)
                hello = {"index": index, "name": name(), "token": note["token"]}
                connection.sendall(json.dumps(hello).encode() + b"\n")
                connection.settimeout(None)
                return connection
        time.sleep(0.2)
    raise UserError(
        f"process 0 ({note['name']}) cannot be reached at {', '.join(note['at'])}: let the "
        "machines of a run reach each other at every port."
    )


def _leave(peers: Star, error: BaseException) -> None:
    """Says why, here and to the others, and ends."""
    code, sentence = verdict(error)
    if code == 1:
        time.sleep(PATIENCE)  # where it is an echo, the thread of `peers` ends us with the cause

    def say() -> None:
        if code == 1:
            traceback.print_exception(error, file=sys.stderr)
        else:
            print(f"error: {sentence}" if code == 2 else sentence, file=sys.stderr)

    peers.leave(code, sentence, say)
    end(code)
