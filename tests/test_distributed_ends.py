"""How several processes end when the first of them is killed, and when a loss is not finite."""

import signal

import jax
import numpy as np
import pytest
import tiny
from processes import ENDED_S, free_port, run, started, wait

from configs import tvrl
from tvrl_jax import replay
from tvrl_jax.checkpoint import restore_for_reading
from tvrl_jax.peers import LOST

pytestmark = pytest.mark.timeout(2400)  # a busy machine is no failure
WAITING = """
import os, signal, sys
from tvrl_jax import distributed, sharding
place = distributed.Place(sys.argv[1], 3, int(sys.argv[2]))
with distributed.started(place, start=300, timeout=300) as peers:
    mesh = sharding.make_mesh()
    sharding.connect(mesh)
    print("connected", flush=True)
    peers.agree(None)
    if peers.index == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        sharding.connect(mesh)  # a collective to which process 0 never comes
"""


def test_the_process_that_leads_the_others_is_killed_in_a_collective(tmp_path):
    """Process 0 is also the one by which JAX's runtime knows the others: with it, that ends too."""
    place = f"127.0.0.1:{free_port()}"
    commands = [["-c", WAITING, place, str(index)] for index in range(3)]
    with started(commands, tmp_path) as processes:
        killed, *others = wait(processes, tmp_path)
    assert killed.code == -signal.SIGKILL and "connected" in killed.said
    for ended in others:
        assert ended.code == 1 and ended.said.count("error: ") == 1, ended.said
        assert "error: process 0 of 3 (" in ended.said and LOST in ended.said, ended.said
        assert ended.at - killed.at <= ENDED_S, ended.said


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(folder)
    return folder


def test_rows_of_one_process_that_are_not_finite_stop_both_and_are_replayed(
    root, tmp_path, monkeypatch
):
    monkeypatch.setenv("TVRL_SCRIPT", "nan:1:2")
    changes = {"train.checkpoint_every": 1, "objective.start_fraction": 0.0}
    flags = tiny.flags(root, "tvrl", **changes)
    command = ["tests/scripted_train.py", *flags, f"--workdir={tmp_path / 'run'}"]
    both = run(command, tmp_path / "said", count=2)
    for ended in both:
        assert ended.code == 2 and "Traceback" not in ended.said, ended.said
        assert ended.said.count("error: ") == 1, ended.said
        assert "the loss of step 2 is nan (its series: " in ended.said, ended.said
    kept = sorted((tmp_path / "run" / "nan").iterdir())
    assert [p.name for p in kept] == [f"step_2-of-process-{i}-of-2.npz" for i in range(2)]
    saved = restore_for_reading(tmp_path / "run", ("step", "params"), "newest")
    assert saved.step == 2 and all(np.isfinite(x).all() for x in jax.tree.leaves(saved.tree))
    lines = replay.replay(kept[0])
    config = tiny.shrink(tvrl.get_config(), root)
    assert f"{config.train.batch_size} series; computed from its own state" in lines[0]
    bad = [line for line in lines if line.startswith("augmented time_BVT: the row of ")]
    assert len(bad) == config.train.batch_size // 2 and "loss: nan" in lines
