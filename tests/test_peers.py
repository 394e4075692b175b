"""Processes in touch agree, stop at one step, and miss the one that ends."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

from tvrl_jax import distributed
from tvrl_jax.distributed import Place, complete, refuse_several, welcome
from tvrl_jax.errors import UserError
from tvrl_jax.peers import Alone, Star

# A star of `count` processes without JAX, each running `body` with its peers `p`.
PREAMBLE = """
import os, signal, socket, sys, time
from tvrl_jax.peers import Star
index, count, port, timeout, late = map(int, sys.argv[1:])
if index == 0:
    found, server = {}, socket.create_server(("127.0.0.1", port))
    print("up", flush=True)
    while len(found) < count - 1:
        connection = server.accept()[0]
        found[connection.recv(1)[0]] = connection
else:
    found = {0: socket.create_connection(("127.0.0.1", port))}
    found[0].send(bytes([index]))
if index == 0:
    time.sleep(late)
p = Star(index, count, found, {i: f"machine {i}" for i in range(count)}, timeout, 60 * late)
p.agree(None)
"""


def _run(
    tmp_path, body: str, count: int = 4, timeout: int = 60, stopped: int = -1, late: int = 0
) -> list[tuple[int, str]]:
    """Exit code and output of each process, but for one that stops itself. Process 0 is silent for
    `late` seconds after the others have called it."""
    script = tmp_path / "body.py"
    script.write_text(PREAMBLE + body)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def start(i: int) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, script, str(i), str(count), str(port), str(timeout), str(late)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    processes = [start(0)]
    try:
        assert processes[0].stdout.readline() == "up\n"
        processes += [start(i) for i in range(1, count)]
        ended = [process for i, process in enumerate(processes) if i != stopped]
        outputs = [process.communicate(timeout=120)[0] for process in ended]
        return [(p.returncode, said) for p, said in zip(ended, outputs, strict=True)]
    finally:
        for process in processes:
            process.kill()


def test_all_get_what_one_combines(tmp_path):
    answers = _run(
        tmp_path,
        "print(p.agree(index * 10, sum), p.agree([index], lambda found: found))\np.part()",
    )
    assert answers == [(0, "60 [[0], [1], [2], [3]]\n")] * 4


def test_the_first_has_done_it_before_the_others_begin(tmp_path):
    body = f"""
def job():
    seen = os.path.exists({str(tmp_path / "made")!r})
    if index == 0:
        time.sleep(0.5)
    open({str(tmp_path / "made")!r}, "a").close()
    return seen
print(p.first(job))
p.part()
"""
    assert [said for _, said in _run(tmp_path, body)] == ["False\n", *["True\n"] * 3]


def test_a_signal_at_one_stops_all_at_one_step(tmp_path):
    """Each step waits for all, as a collective does; process 2 is far behind when it is asked."""
    body = """
stop, done = p.stopping(0), 0
while not stop:
    p.agree(None)
    done += 1
    time.sleep(0.02 * index)
    stop = p.stopping(done, 15 if index == 2 and done == 5 else 0)
print(done >= 5, stop, p.agree(done, lambda all_of_them: len(set(all_of_them))))
p.part()
"""
    assert _run(tmp_path, body) == [(0, "True 15 1\n")] * 4


def test_a_signal_that_comes_too_late_stops_nobody(tmp_path):
    body = """
for done in range(4):
    assert not p.stopping(done)
p.agree(None)
if index == 1:
    p.ask(15)
print(p.stopping(4))
p.agree(None)
p.part()
"""
    answers = _run(tmp_path, body, count=2)
    assert {code for code, _ in answers} == {0}
    # Whoever had asked before the signal came goes on; nobody stops at another step.
    assert {said for _, said in answers} in ({"0\n"}, {"15\n"})


@pytest.mark.parametrize("lost", [0, 2])
def test_a_killed_process_is_named_by_all_others(tmp_path, lost):
    body = f"""
if index == {lost}:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(100)
"""
    answers = _run(tmp_path, body)
    assert answers.pop(lost)[0] == -signal.SIGKILL
    for code, said in answers:
        assert code == 1 and said.count("error: ") == 1
        assert f"process {lost} of 4 (machine {lost}) ended without a word" in said


@pytest.mark.parametrize("lost", [0, 2])
def test_a_process_that_fails_says_why_to_all_others(tmp_path, lost):
    body = f"""
if index == {lost}:
    p.leave(2, "there is no file x.")
time.sleep(100)
"""
    answers = _run(tmp_path, body)
    assert answers.pop(lost) == (2, "")
    for code, said in answers:
        assert code == 2 and said.startswith(f"error: process {lost} of 4 (")
        assert said.endswith("): there is no file x.\n") and said.count("\n") == 1


def test_processes_that_fail_together_each_give_one_reason(tmp_path):
    body = """
p.agree(None)
p.leave(2, "there is no file x.", lambda: os.write(2, b"error: there is no file x.\\n"))
"""
    for code, said in _run(tmp_path, body):
        assert code == 2 and said.count("error: ") == 1, said
        assert said.endswith("there is no file x.\n"), said


def test_a_process_that_falls_silent_is_lost(tmp_path):
    body = """
if index == 2:
    os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(100)
"""
    for code, said in _run(tmp_path, body, timeout=5, stopped=2):
        assert code == 1 and "process 2 of 4 (machine 2) has not been heard from for 5 s" in said


def test_a_process_that_waits_for_late_ones_is_not_lost(tmp_path):
    assert _run(tmp_path, "p.part()", count=2, timeout=1, late=4) == [(0, "")] * 2


def test_a_process_that_takes_no_more_is_lost(tmp_path):
    """Process 0 is in the midst of telling it a result that no buffer holds."""
    body = """
if index == 2:
    p._send(0, turn=2, value=0)
    os.kill(os.getpid(), signal.SIGSTOP)
p.agree(0, lambda found: "x" * (3 << 22))
time.sleep(100)
"""
    answers = _run(tmp_path, body, count=3, timeout=5, stopped=2)
    assert len(answers) == 2
    for code, said in answers:
        assert code == 1 and said.count("error: ") == 1, said
        assert "error: process 2 of 3 (machine 2) " in said


def test_a_process_that_is_told_nonsense_says_so_and_ends_all(tmp_path):
    body = """
if index == 1:
    p._connections[0].sendall(b"nonsense\\n")
time.sleep(100)
"""
    first, *rest = _run(tmp_path, body)
    assert first[0] == 1 and "JSONDecodeError" in first[1]
    for code, said in rest:
        assert code == 1 and "error: process 0 of 4 (" in said and ": JSONDecodeError: " in said


def test_what_a_quick_process_says_after_its_name_is_not_lost():
    """And whoever else finds the port does no harm."""
    hello = b'{"index": 1, "name": "quick", "token": "t"}\n'
    with socket.create_server(("127.0.0.1", 0)) as server:
        callers = [socket.create_connection(server.getsockname()) for _ in range(5)]
        for caller, said in zip(callers, (b"[]\n", b"\xff\n", b"x" * 5000, b""), strict=False):
            caller.sendall(said)
        callers[3].close()
        callers[4].sendall(hello + b'{"turn": 1, "value": 7}\n')
        connections, names = welcome(server, count=2, token="t", start=60)
        assert names == {1: "quick"}
        star = Star(0, 2, connections, names, 60)
        total = star.agree(3, sum)
        callers[4].sendall(b'{"bye": true}\n')  # a star ends its process for a lost one
        assert total == 10 and b'"result": 10' in callers[4].recv(100)


def test_a_stranger_that_says_nothing_does_not_end_the_run(monkeypatch):
    monkeypatch.setattr(distributed, "HELLO", 0.2)
    hello = b'{"index": 1, "name": "late", "token": "t"}\n'
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent, other = (socket.create_connection(server.getsockname()) for _ in range(2))
        other.sendall(hello)
        assert welcome(server, count=2, token="t", start=60)[1] == {1: "late"}
        silent.close(), other.close()


def test_those_that_met_are_told_of_the_one_that_did_not():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as caller,
    ):
        caller.sendall(b'{"index": 1, "name": "quick", "token": "t"}\n')
        with pytest.raises(UserError, match=r"process 2 of 3 cannot reach process 0 \("):
            welcome(server, count=3, token="t", start=0.5)
        said = json.loads(caller.recv(1000))
        assert said["end"] == 2 and "process 2 of 3 cannot reach process 0" in said["why"]


def test_one_that_has_met_nobody_yet_says_why_it_ends():
    said = []
    Alone().leave(2, "no way there", lambda: said.append("no way there"))
    assert said == ["no way there"]


def test_one_alone_agrees_with_itself():
    alone = Alone()
    assert alone.agree(3, sum) == 3 and alone.first(lambda: 4) == 4
    assert alone.stopping(2) == 0 and alone.stopping(2, 15) == 15
    assert issubclass(Star, Alone)


SLURM = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5"}
MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1"}


@pytest.mark.parametrize(
    ("place", "environment", "found"),
    [
        ((None, None, None), {}, None),
        ((None, None, None), {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),
        ((None, None, None), SLURM, Place(None, None, None)),
        ((None, None, None), MPI, Place(None, None, None)),
        (("a:1", None, None), SLURM, Place("a:1", 8, 5)),
        (("a:1", None, None), MPI, Place("a:1", 4, 1)),
        (("[::1]:1", 2, 1), {}, Place("[::1]:1", 2, 1)),
        (("a:1", 2, 0), MPI, Place("a:1", 2, 0)),
        (("a:1", 1, 0), {}, None),
    ],
)
def test_where_a_process_stands(monkeypatch, place, environment, found):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert complete(Place(*place), environment) == found


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((None, 2, 0), "need --coordinator=HOST:PORT"),
        ((None, None, 0), "need --coordinator=HOST:PORT"),
        (("a", 2, 0), "--coordinator=a: say HOST:PORT"),
        (("a:0", 2, 0), "say HOST:PORT"),
        (("a:b", 2, 0), "say HOST:PORT"),
        (("a:1", None, 0), "needs --num_processes and --process_id"),
        (("a:1", 2, None), "needs --num_processes and --process_id"),
        (("a:1", 2, 2), "--process_id=2: of 2 processes"),
        (("a:1", 2, -1), "--process_id=-1"),
        (("a:1", 0, 0), "--num_processes=0: a run has at least 1"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(place, words):
    with pytest.raises(UserError, match=words):
        complete(Place(*place), {})


def test_a_command_of_one_process_refuses_to_be_several():
    refuse_several({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, "probe.py")
    with pytest.raises(UserError, match="probe.py is one process and was started 8 times"):
        refuse_several(SLURM, "probe.py")
