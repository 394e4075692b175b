"""The ring of tiles goes through several processes as through several devices of one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import careless
import jax
import numpy as np
from test_tiles import difficult, pairs

ROOT = Path(__file__).resolve().parent.parent
PROCESSES, TIMEOUT = 2, 280  # seconds; a busy machine needs a tenth of it
WORKER = """
import sys, time
import jax, numpy as np
from jax.experimental import multihost_utils
from tvrl_jax import losses, sharding

port, number, count, folder = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(number))
inputs = dict(np.load(f"{folder}/inputs.npz"))
mine = {k: np.split(v, jax.process_count())[jax.process_index()] for k, v in inputs.items()}
mesh = sharding.make_mesh()
sharding.connect(mesh)
time.sleep(35 * jax.process_index())  # it compiles: without `connect`, 30 s are too many

def total(z_BVE, valid_B):
    each = losses.contrast_views(
        z_BVE, valid_B, temperature=0.1, tile=3, spread=sharding.over_devices
    )
    return each.loss.sum(), each.closer

step = jax.jit(jax.value_and_grad(total, has_aux=True))
with jax.set_mesh(mesh):
    arrays = sharding.put(mine, mesh)
    (loss, closer), gradient = step(arrays["z_BVE"], arrays["valid_B"])
    whole = multihost_utils.process_allgather(dict(closer=closer, gradient=gradient), tiled=True)
np.savez(f"{folder}/found{number}.npz", loss=loss, **whole)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(folder):
    environment = os.environ | {"XLA_FLAGS": careless.flags(devices=2), "PYTHONPATH": str(ROOT)}
    port = str(free_port())
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, port, str(k), str(PROCESSES), str(folder)],
            env=environment, stderr=subprocess.PIPE, text=True,
        )
        for k in range(PROCESSES)
    ]  # fmt: skip
    try:
        said = [worker.communicate(timeout=TIMEOUT)[1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * PROCESSES, "\n".join(said)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_two_processes_of_two_devices_give_the_matrix_of_one(tmp_path):
    z_BVE, subject_B, valid_B = difficult(np.float32)
    np.savez(tmp_path / "inputs.npz", z_BVE=z_BVE, valid_B=valid_B)
    run(tmp_path)

    def total(z_BVE):
        each = pairs(z_BVE, subject_B, valid_B)
        return each.loss.sum(), each.closer

    (loss, closer), gradient = jax.value_and_grad(total, has_aux=True)(z_BVE)
    for number in range(PROCESSES):
        found = np.load(tmp_path / f"found{number}.npz")
        np.testing.assert_allclose(found["loss"], loss, rtol=1e-6)
        np.testing.assert_array_equal(found["closer"].T.ravel(), closer)
        for row, expected in zip(found["gradient"], gradient, strict=True):
            assert np.abs(row - expected).max() <= 2e-6 * np.abs(expected).max()
