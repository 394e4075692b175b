"""Command lines of train.py and probe.py, run in forks of one process.

Alone, each would take seconds to import what it needs.
"""

import json
import subprocess
import sys

from conftest import ROOT

DRIVER = """
import json, os, runpy, sys, tempfile, traceback
from ml_collections import config_flags
from configs import base, probe_base, tvrl
from tvrl_jax import trainer
from tvrl_jax.command import cli

def child(script, arguments, out):
    for number in (1, 2):
        os.dup2(out, number)
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)

answers = []
for script, *arguments in json.load(sys.stdin):
    with tempfile.TemporaryFile() as out:
        process = os.fork()
        if not process:
            child(script, arguments, out.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        out.seek(0)
        answers.append([code, out.read().decode()])
json.dump(answers, sys.stdout)
"""


def run_all(lines) -> dict[tuple[str, ...], tuple[int, str]]:
    """(script, argument, ...) -> its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=ROOT,
        input=json.dumps(list(lines)),
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    answers = (tuple(answer) for answer in json.loads(done.stdout))
    return dict(zip(map(tuple, lines), answers, strict=True))
