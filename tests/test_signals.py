"""A signal is heard, and its grace runs, even while the main thread is held up in compiled code."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from conftest import ROOT

BODY = """
import hashlib, os, signal, sys
from tvrl_jax.peers import Alone
from tvrl_jax.signals import Interruption

class Peers(Alone):
    def ask(self, number):
        os.write(1, f"asked {number}\\n".encode())

peers = Peers()
with Interruption(float(sys.argv[1]), peers) as interruption:
    print("up", flush=True)
    exec(sys.argv[2])
print("done", interruption.number, peers.stopping(3, interruption.number))
"""
# Minutes in C, without a look at signals.
HELD_UP = 'hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)'


def _run(grace: float, body: str, *numbers: int) -> tuple[int, str, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BODY, str(grace), body],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    late = threading.Timer(120, process.kill)
    late.start()
    try:
        assert process.stdout.readline() == "up\n"
        said = ""
        for number in numbers:
            process.send_signal(number)
            said = process.stdout.readline()  # in between, or the two would be one
        # `communicate` would lose what readline has read ahead. Errors are few and fit a pipe.
        out = process.stdout.read()
        return process.wait(), said + out, process.stderr.read()
    finally:
        late.cancel()
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_the_grace_is_over_the_process_ends_and_says_so(number):
    for body, words in (
        (HELD_UP, "no step was finished within train.grace = 0.5 s"),
        (
            f"interruption.stepped = True\n{HELD_UP}",
            "could not be saved within train.grace = 0.5 s",
        ),
    ):
        code, out, err = _run(0.5, body, number)
        assert code == 128 + number and out == f"asked {int(number)}\n" and words in err


def test_a_second_signal_ends_at_once_what_is_held_up():
    code, out, _ = _run(1e6, HELD_UP, signal.SIGTERM, signal.SIGTERM)
    # By our thread, or by the system where Python had come to the first one in time.
    assert code in (128 + signal.SIGTERM, -signal.SIGTERM) and out == ""


def test_two_signals_at_once_end_it_without_a_complaint():
    """The second has come before Python looked at the first."""
    both = "signal.SIGINT, signal.SIGTERM"
    body = f"signal.pthread_sigmask(signal.SIG_BLOCK, [{both}])\n"
    body += "[os.kill(os.getpid(), n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
    body += f"signal.pthread_sigmask(signal.SIG_UNBLOCK, [{both}])\nwhile True: pass"
    code, _, err = _run(0.0, body)
    assert code == -signal.SIGTERM and "Traceback" not in err and "race" not in err


def test_what_is_saved_in_time_ends_in_order():
    body = "while not interruption: pass"
    code, out, err = _run(1e6, body, signal.SIGTERM)
    assert code == 0 and out.endswith("done 15 15\n") and "grace" not in err


def test_a_signal_to_all_processes_is_the_first_one_here_though_another_was_heard_of_before():
    here = "os.kill(os.getpid(), signal.SIGTERM)"
    body = f"import time; peers.on_stop(15); {here}; time.sleep(1)\nwhile not interruption: pass"
    code, out, _ = _run(1e6, body)
    assert code == 0 and out.endswith("done 15 15\n")
    code, out, _ = _run(1e6, f"{body}\n{here}; {here}")
    assert code in (128 + signal.SIGTERM, -signal.SIGTERM) and "done" not in out


def test_a_signal_at_another_process_starts_the_clock_here():
    code, out, err = _run(0.5, f"peers.on_stop(15); {HELD_UP}")
    assert code == 128 + signal.SIGTERM and "asked" not in out and "train.grace" in err
