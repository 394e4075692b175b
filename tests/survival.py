"""One small run, and what of it must be the same however often it was interrupted."""

import json
from pathlib import Path

import jax
import numpy as np
import tiny
from forkserver import Child, ForkServer

from tvrl_jax.checkpoint import restore_for_reading

GROUPS = ("step", "params", "extra", "opt_state", "ema")
RATES = ("steps_per_second", "clips_per_second", "data_wait_share")
STEPS, EVERY = 40, 4  # of the run; between two checkpoints


def start(server: ForkServer, root: Path, folder: Path, hooks=None, **changes) -> Child:
    """train.py in `folder`, which writes a line per batch to `folder`.order."""
    settings = {
        "train.steps": STEPS,
        "train.checkpoint_every": EVERY,
        "train.ema": 0.9,
        "log.every": 1,
        "log.diagnose_every": 16,
        "train.batch_size": 4,
        "clips.frames": 2,
        **changes,
    }
    hooks = {"order": f"{folder}.order", **(hooks or {})}
    return server.start(
        "train.py", *tiny.flags(root, "csimclr", **settings), f"--workdir={folder}", **hooks
    )


def run(server: ForkServer, root: Path, folder: Path, hooks=None, **changes) -> tuple[int, str]:
    child = start(server, root, folder, hooks, **changes)
    return child.wait(), child.said()


def state(folder: Path, pick: str = "newest"):
    return restore_for_reading(folder, GROUPS, pick)


def rows(folder: Path) -> list[dict]:
    """metrics.jsonl without what depends on the clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in RATES} for line in lines]


def order(folder: Path) -> list[list]:
    """[step, series of its rows, checksum of its frames and times] of every batch that was read."""
    path = Path(f"{folder}.order")
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines if _is_whole(line)]


def _is_whole(line: str) -> bool:
    """A kill may cut the line of a batch; what follows is then written behind it."""
    try:
        return isinstance(json.loads(line), list)
    except ValueError:
        return False


def kept(folder: Path) -> list[int]:
    """The steps of the checkpoints. Fails where a half-written one was left."""
    names = [path.name for path in (folder / "checkpoints").iterdir()]
    assert all(name.isdecimal() for name in names), names
    return sorted(map(int, names))


def rating(folder: Path, step: int) -> dict:
    """The mean loss since the checkpoint before, by which the best one is kept."""
    return json.loads((folder / "checkpoints" / str(step) / "metrics" / "metrics").read_text())


def assert_same_state(one: Path, other: Path) -> None:
    a, b = state(one), state(other)
    assert a.step == b.step == STEPS
    jax.tree.map(np.testing.assert_array_equal, a.tree, b.tree)


def assert_same_run(one: Path, other: Path, *, lost: tuple[int, ...] = ()) -> None:
    """Parameters, statistics, moments, metrics, data and checkpoints, bit by bit.

    `lost`: steps of which `other` could save no checkpoint.
    """
    assert_same_state(one, other)
    assert rows(one) == rows(other)
    assert set(kept(one)) - set(lost) <= set(kept(other))
    assert lost or kept(one) == kept(other)
    for step in set(kept(one)) & set(kept(other)):
        assert rating(one, step) == rating(other, step)
    want = {step: rest for step, *rest in order(one)}
    assert sorted(want) == list(range(STEPS))
    assert {step for step, *_ in order(other)} == set(want)
    for step, *rest in order(other):
        assert rest == want[step], f"the batch of step {step} differs"
