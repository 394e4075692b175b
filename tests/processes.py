"""Several processes of one command on this machine, and none that outlives its test."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import careless
from conftest import ROOT

PATIENCE_S = 1000  # of a test, for a machine that has much else to do
ENDED_S = 5  # of the others' lives after a kill, as docs/scaling.md promises


class Ended(NamedTuple):
    code: int
    said: str
    at: float  # time.monotonic


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def started(commands: list[list[str]], folder: Path, *, devices: int = 1):
    """Processes that write into folder/said.INDEX; none outlives the context."""
    folder.mkdir(parents=True, exist_ok=True)
    environment, processes = _environment(devices), []
    try:
        for index, command in enumerate(commands):
            with (folder / f"said.{index}").open("wb") as file:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        cwd=ROOT,
                        env=environment,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _environment(devices: int) -> dict[str, str]:
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": careless.flags(devices),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }


@contextmanager
def bash(lines: str):
    """A shell at work on lines; what it has started ends with the context."""
    shell = subprocess.Popen(
        ["bash", "-c", lines],
        cwd=ROOT,
        env=_environment(1),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield shell
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)


def wait(processes: list[subprocess.Popen], folder: Path) -> list[Ended]:
    """How each ended and what it said. After PATIENCE_S fails with where each of them stands."""
    deadline = time.monotonic() + PATIENCE_S
    at: dict[int, float] = {}
    while len(at) < len(processes) and time.monotonic() < deadline:
        time.sleep(0.05)
        ended = [i for i, process in enumerate(processes) if process.poll() is not None]
        at |= {i: time.monotonic() for i in ended if i not in at}
    hanging = [index for index, process in enumerate(processes) if process.poll() is None]
    for index in hanging:
        processes[index].send_signal(signal.SIGABRT)  # faulthandler writes every thread's stack
    codes = [process.wait() for process in processes]
    said = [(folder / f"said.{i}").read_text() for i in range(len(processes))]
    now = time.monotonic()
    ended = [Ended(*how, at.get(i, now)) for i, how in enumerate(zip(codes, said, strict=True))]
    report = "\n\n".join(f"== {i}: exit code {e.code}\n{e.said}" for i, e in enumerate(ended))
    assert not hanging, f"{hanging} did not end within {PATIENCE_S} s\n{report}"
    return ended


def of_many(command: list[str], count: int) -> list[list[str]]:
    """The command of each process of a run."""
    if count == 1:
        return [command]
    place = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={count}"]
    return [[*command, *place, f"--process_id={index}"] for index in range(count)]


def run(command: list[str], folder: Path, *, count: int, devices: int = 1) -> list[Ended]:
    """Runs `count` processes of train.py, or of what takes its flags, to their ends."""
    with started(of_many(command, count), folder, devices=devices) as processes:
        return wait(processes, folder)
