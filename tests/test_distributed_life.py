"""A run goes on through signals, kills and errors, on any number of devices and processes."""

import json
import math
import random
import re
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from absl import flags
from conftest import ROOT
from ml_collections import config_flags
from processes import ENDED_S, PATIENCE_S, bash, free_port, run, started, wait

from tvrl_jax import sharding
from tvrl_jax.checkpoint import restore_for_reading
from tvrl_jax.peers import LOST

pytestmark = pytest.mark.timeout(2400)  # a busy machine is no failure
STEPS = 8
CONFIG = """
from pathlib import Path
import tiny
from configs import tvrl

def get_config():
    config = tiny.shrink(tvrl.get_config(), Path({root!r}))
    config.update_from_flattened_dict({{
        "train.steps": {steps}, "train.checkpoint_every": 2, "train.sharding": "full",
        "log.every": 1, "log.diagnose_every": 100, "objective.start_fraction": 0.0,
        "optim.eps": 1.0,  # Adam would make noise of gradients that are 0; so a larger rate:
        "optim.lr": 2e-2,
        "train.grace": 600.0, "distributed.timeout": 600.0,  # a busy machine is no failure
    }})
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    tiny.write_cohort(folder / "cohort")
    text = CONFIG.format(root=str(folder / "cohort"), steps=STEPS)
    (folder / "config.py").write_text(text)
    return folder


@pytest.fixture
def live(folder, monkeypatch):
    """Runs a part of a run's life: on which processes and devices, and what happens to whom."""

    def part(workdir: Path, count: int, devices: int, script: str = ""):
        monkeypatch.setenv("TVRL_SCRIPT", script or "nothing:0:-1")
        command = [
            "tests/scripted_train.py",
            f"--config={folder / 'config.py'}",
            f"--workdir={workdir / 'run'}",
        ]
        workdir.mkdir(exist_ok=True)
        return run(command, workdir / "said", count=count, devices=devices)

    return part


def _saved(workdir: Path) -> int:
    return restore_for_reading(workdir / "run", ("step",), "newest").step


def _rows(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "run" / "metrics.jsonl").open()]


def test_one_life_on_many_machines_equals_an_undisturbed_one(folder, live):
    """8 devices -> 1 -> 2 processes of 2, twice -> 4, one killed -> 4, one raising -> 2.

    A signal to one of two processes stops both after the same step, saved, and so do signals to
    both, as launchers send them, which do not come at the same moment; a kill and an error end
    all the others, and each says which process it was. What comes out is what comes out in peace.
    """
    peace, life = folder / "peace", folder / "life"
    assert [e.code for e in live(peace, 1, 1)] == [0]

    (ended,) = live(life, 1, 8, "term:0:1")
    assert (ended.code, _saved(life)) == (128 + signal.SIGTERM, 2), ended.said
    (ended,) = live(life, 1, 1, "term:0:2")
    assert (ended.code, _saved(life)) == (128 + signal.SIGTERM, 3), ended.said

    both = live(life, 2, 2, "term:1:3")
    assert [e.code for e in both] == [128 + signal.SIGTERM] * 2, both
    stopped = _saved(life)
    assert 4 <= stopped <= 5  # the other one may have begun the next step

    both = live(life, 2, 2, f"term:all:{stopped}")
    assert [e.code for e in both] == [128 + signal.SIGTERM] * 2, both
    assert stopped < _saved(life) <= 6
    stopped = _saved(life)

    four = live(life, 4, 1, "kill:2:6")
    killed = four.pop(2)
    assert killed.code == -signal.SIGKILL
    for ended in four:
        assert ended.at - killed.at <= ENDED_S, ended.said
        assert ended.code == 1 and ended.said.count("error: ") == 1, ended.said
        assert "error: process 2 of 4 (" in ended.said and LOST in ended.said
    assert _saved(life) >= stopped

    four = live(life, 4, 1, "raise:3:7")
    raised = four.pop(3)
    assert raised.code == 1 and "ValueError: the sky is falling" in raised.said
    for ended in four:
        assert ended.code == 1 and "Traceback" not in ended.said, ended.said
        assert ": ValueError: the sky is falling" in ended.said.split("error: process 3 of 4 (")[1]

    both = live(life, 2, 1)
    assert [e.code for e in both] == [0, 0], both
    assert sum("report: " in e.said for e in both) == 1
    _compare(peace, life)


def test_the_lines_for_several_processes_on_one_machine_are_as_the_page_says(folder):
    page = (ROOT / "docs" / "scaling.md").read_text()
    block = page.split("## Several processes on one CPU machine")[1].split("```")[1]
    for written, here in (
        ("--config=configs/demo.py", f"--config={folder / 'config.py'}"),
        ("runs/two", str(folder / "two")),
        ("29400", str(free_port())),
        (" python ", f" {sys.executable} "),
    ):
        assert block.count(written) == 1
        block = block.replace(written, here)
    with bash(block) as shell:
        said = shell.communicate(timeout=PATIENCE_S)[0]
    assert said.count("report: ") == said.count("Checked: finite loss") == 1, said
    rows = [json.loads(line) for line in (folder / "two" / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == list(range(STEPS))


@pytest.mark.parametrize(
    ("heading", "devices"),
    [
        ("## A GPU box", r"training on (\d+) x NVIDIA"),
        ("## A SLURM job", r"--nodes=(\d+) .*--gpus-per-node=(\d+)"),
        ("## A TPU pod slice", r"v5e (\d+)x(\d+)"),
    ],
)
def test_the_batch_of_a_command_divides_among_the_devices_of_the_page(
    monkeypatch, heading, devices
):
    page = (ROOT / "docs" / "scaling.md").read_text()
    section = page.split(f"{heading}\n")[1].split("\n## ")[0]
    count = math.prod(map(int, re.search(devices, section).groups()))
    command = section.split("python train.py")[1].split("```")[0].replace("=configs/", "=")
    line = [word.strip('"') for word in re.findall(r"--\S+", command)]
    line[0] = line[0].replace("--config=", f"--config={ROOT}/configs/")
    own = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=own)
    flags.DEFINE_string("workdir", None, "", flag_values=own)
    monkeypatch.setattr(sys, "argv", ["train.py", *line])
    own(sys.argv)
    monkeypatch.setattr(jax, "device_count", lambda: count)
    monkeypatch.setattr(jax, "local_device_count", lambda: count)
    train = own.config.train
    sharding.check_batch_size(train.batch_size, train.micro_batches)


LAUNCHED = """
import json, os, sys
os.environ |= json.loads(sys.argv[1])
from tvrl_jax import distributed
with distributed.started(distributed.Place(None, None, None), start=300, timeout=300) as peers:
    print("of", peers.count, peers.agree(peers.index, lambda found: found))
"""
PORTS = range(61440, 65536)  # of which JAX takes the one that a job's number says


def _of_slurm(index: int, port: int) -> dict[str, str]:
    here = {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)}
    job = {"SLURM_JOB_ID": str(port - PORTS[0]), "SLURM_STEP_NODELIST": "localhost"}
    return here | job | {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}


def _of_open_mpi(index: int, port: int) -> dict[str, str]:
    here = {f"OMPI_COMM_WORLD_{name}": str(index) for name in ("RANK", "LOCAL_RANK")}
    uri = f"{(port - PORTS[0]) << 12}.0;tcp://127.0.0.1:34911"
    return here | {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": uri}


def _free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("", port)):
        return True
    return False


@pytest.mark.parametrize("launcher", [_of_slurm, _of_open_mpi])
def test_processes_that_a_launcher_started_find_each_other(folder, launcher):
    """From what SLURM and Open MPI 4 leave in the environment, without a flag."""
    port = next(port for port in random.sample(PORTS, len(PORTS)) if _free(port))
    commands = [["-c", LAUNCHED, json.dumps(launcher(index, port))] for index in range(2)]
    with started(commands, folder / launcher.__name__) as processes:
        for ended in wait(processes, folder / launcher.__name__):
            assert ended.code == 0 and "of 2 [0, 1]\n" in ended.said, ended.said


def _compare(peace: Path, life: Path) -> None:
    ours, theirs = _rows(life), _rows(peace)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(STEPS))
    for one, other in zip(ours, theirs, strict=True):
        for name in ("loss", "loss_contrastive", "loss_latent", "gradient_norm", "top1"):
            assert one[name] == pytest.approx(other[name], rel=1e-5, abs=1e-6), (name, one["step"])
    kept = ("params", "extra", "opt_state")
    ours, theirs = (restore_for_reading(f / "run", kept, "newest").tree for f in (life, peace))
    for name in ("params", "extra"):
        _near(ours[name], theirs[name])
    # Of all moments together: they are made of gradients, which rounding moves farther.
    one, other = (
        np.concatenate(
            [x.ravel() for x in jax.tree.leaves(tree["opt_state"]) if x.dtype == np.float32]
        )
        for tree in (ours, theirs)
    )
    assert np.linalg.norm(one - other) <= 1e-4 * np.linalg.norm(other) > 0
    _same_order(life, peace)


def _near(one, other) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        gap = np.linalg.norm(np.asarray(a) - np.asarray(b))
        assert gap <= 1e-6 * max(np.linalg.norm(b), 1.0), (a.shape, gap)


def _read_order(workdir: Path) -> list[tuple[int, int, int, list[str]]]:
    """(step, processes, process, series) of every batch that was read."""
    found = []
    for path in sorted(workdir.glob("order.*")):
        for line in path.read_text().splitlines():
            step, count, *series = line.split()
            found.append((int(step), int(count), int(path.suffix[1:]), series))
    return found


def _same_order(life: Path, peace: Path) -> None:
    """Every process read its block of the batch of each step that it came to."""
    whole = {step: series for step, _, _, series in _read_order(peace)}
    assert set(whole) >= set(range(STEPS))
    counts = set()
    for step, count, index, series in _read_order(life):
        rows = len(whole[step]) // count
        assert series == whole[step][index * rows : (index + 1) * rows], (step, count, index)
        counts.add(count)
    assert counts == {1, 2, 4}
