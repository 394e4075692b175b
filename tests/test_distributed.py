"""One device, eight, two processes of four and four of one compute the same thing."""

import numpy as np
import pytest
import tiny
from conftest import ROOT
from processes import run

pytestmark = pytest.mark.timeout(2400)  # a busy machine is no failure
TOPOLOGIES = {"1 x 8": (1, 8), "2 x 4": (2, 4), "4 x 1": (4, 1)}
# What float32 leaves of equality, relative to an array's length. Losses and statistics agree to the
# last digits; a temperature of 0.1 and BatchNorm over few rows amplify the rounding of gradients,
# and after an update a ReLU may fall on the other side.
ROUNDING = {"loss": 2e-6, "extra": 5e-6, "grads": 5e-5, "logged": 2e-4}
METHODS = ("cvrl", "ltn", "videomae", "csimclr", "csimclr_te", "tvrl", "causal", "supervised")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    tiny.write_cohort(folder / "cohort")
    return folder


@pytest.fixture(scope="module")
def learnt(folder):
    """topology -> what each of its processes found, by name."""
    made = {}

    def learn(name: str, count: int, devices: int) -> list[dict]:
        if name not in made:
            out = folder / name.replace(" ", "")
            command = ["tests/one_of_many.py", str(folder / "cohort"), str(out)]
            for ended in run(command, out, count=count, devices=devices):
                assert ended.code == 0, ended.said
            made[name] = [dict(np.load(f"{out}.{index}.npz")) for index in range(count)]
        return made[name]

    return learn


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_many_devices_and_processes_compute_what_one_computes(learnt, topology):
    """Loss, metrics, gradients and BatchNorm statistics, of every objective."""
    (one,) = learnt("1 x 1", 1, 1)
    for many in learnt(topology, *TOPOLOGIES[topology]):
        assert set(many) == set(one)
        for name in one:
            kind, method, number, *_ = name.split("/")
            if kind in ("rows", "drawn"):
                continue
            kind = "loss" if name.endswith("/loss") else kind
            if number == "1" and kind in ("grads", "logged"):
                continue
            # A leaf whose true gradient is 0 holds nothing but rounding: it is measured by all.
            scale = np.linalg.norm(one[name])
            if kind == "grads":
                scale = max(scale, 1e-2 * float(one[f"logged/{method}/{number}/gradient_norm"]))
            allowed = ROUNDING[kind] * (1 if number == "0" else 10)
            gap = np.linalg.norm(many[name] - one[name])
            assert gap <= allowed * max(scale, 1e-6), (name, gap, scale)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_each_process_reads_its_rows_of_the_batch_and_no_other(learnt, topology):
    """The rows read, in their order, and the same rows augmented."""
    (one,) = learnt("1 x 1", 1, 1)
    shares = learnt(topology, *TOPOLOGIES[topology])
    for name in one:
        if name.startswith(("rows/", "drawn/")):
            parts = [share[name] for share in shares]
            assert {len(part) for part in parts} == {len(one[name]) // len(shares)}
            # Rows are copied; what is computed of them may differ by rounding.
            np.testing.assert_allclose(np.concatenate(parts), one[name], rtol=1e-6, atol=1e-6)


def test_every_objective_was_compared(learnt):
    (one,) = learnt("1 x 1", 1, 1)
    assert {name.split("/")[1] for name in one} == set(METHODS)
    assert sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem in METHODS) == sorted(
        METHODS
    )
    gradients = [array for name, array in one.items() if name.startswith("grads/")]
    assert all(np.isfinite(g).all() for g in gradients) and sum(map(np.any, gradients)) > 100
