"""A loss that is not finite changes nothing, is named, and its batch can be replayed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from survival import rows, state

from configs import tvrl
from tvrl_jax import mishap, optim, replay
from tvrl_jax.checkpoint import whole
from tvrl_jax.data import opening
from tvrl_jax.errors import UserError

BAD = [2, 3]  # steps; few different ones, since each is compiled as a program of its own
pytestmark = pytest.mark.timeout(3000)  # a machine may be busy; every wait has its own end


@pytest.fixture
def train(server, root):
    def run(folder, hooks=None, **changes):
        flags = tiny.flags(root, "csimclr", **{"train.ema": 0.9, "clips.frames": 2, **changes})
        return server.run("train.py", *flags, f"--workdir={folder}", **(hooks or {}))

    return run


def _equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_stop_names_the_step_and_keeps_state_and_batch(train, server, root, tmp_path):
    code, said = train(tmp_path / "bad", hooks={"nan_at": BAD, "order": str(tmp_path / "order")})
    assert code == 2 and "Traceback" not in said, said
    *_, last = said.strip().splitlines()
    assert last.startswith("error: the loss of step 2 is nan (its series: "), said
    kept = mishap.read(tmp_path / "bad" / "nan" / "step_2.npz")
    order = [json.loads(line) for line in (tmp_path / "order").read_text().splitlines()]
    assert kept.number == 2 and kept.batch["series_B"].tolist() == order[2][1]
    store = opening.open_cohort(tiny.shrink(tvrl.get_config(), root).data)
    assert kept.id_B == [store.series[i].id for i in order[2][1]]
    assert all(name in last for name in kept.id_B)
    # What is saved is the state that the loss was computed from: that of a run without the fault.
    assert (
        train(tmp_path / "good", **{"log.every": 1, "train.checkpoint_every": 1, "train.keep": 9})[
            0
        ]
        == 0
    )
    assert state(tmp_path / "bad").step == 2
    _equal(state(tmp_path / "bad").tree, state(tmp_path / "good", "2").tree)
    # What is replayed is the step of the run, its learning rate and moments included.
    (row,) = [row for row in rows(tmp_path / "good") if row["step"] == 2]
    code, said = server.run("tvrl_jax/replay.py", f"--batch={tmp_path / 'bad/nan/step_2.npz'}")
    shown = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert float(shown[name]) == pytest.approx(row[name], rel=1e-4), name
    # And without the fault the same command ends as if nothing had been.
    assert train(tmp_path / "bad")[0] == 0
    _equal(state(tmp_path / "bad").tree, state(tmp_path / "good").tree)


def test_skipped_steps_change_nothing_and_are_counted(train, tmp_path):
    skip = {"train.on_nan": "skip", "log.every": 1, "train.checkpoint_every": 1, "train.keep": 9}
    code, said = train(tmp_path / "run", hooks={"nan_at": BAD}, **skip)
    assert code == 0 and "skipped: the loss of step 2 is nan" in said, said
    before, after = state(tmp_path / "run", "2").tree, state(tmp_path / "run", "4").tree
    assert (before.pop("step"), after.pop("step")) == (2, 4)
    _equal(before, after)
    assert [row["skipped"] for row in rows(tmp_path / "run")] == [0, 0, 1, 2, 2, 2]
    assert [row["loss"] is None for row in rows(tmp_path / "run")] == [
        step in (2, 3) for step in range(6)
    ]
    rate = [row["learning_rate"] for row in rows(tmp_path / "run")]
    assert rate[2] == rate[3] == rate[4] != rate[5]  # that of the update, which had to wait
    # Counted on over a resumption: the same rows as without.
    parts = {**skip, "train.checkpoint_every": 3}
    code, said = train(tmp_path / "parts", hooks={"nan_at": BAD, "stop_at": 2}, **parts)
    assert code == 128 + 15, said
    assert train(tmp_path / "parts", hooks={"nan_at": BAD}, **parts)[0] == 0
    assert rows(tmp_path / "parts") == rows(tmp_path / "run")


def test_a_replay_updates_with_the_moments_of_the_run():
    params = {"a": {"w": jnp.ones(3)}, "b": jnp.ones(2)}
    rates = dict(steps=9, batch_size=8, lr=1.0, warmup_fraction=0.0, weight_decay=0.0)
    how = dict(b1=0.9, b2=0.9, eps=1e-8, clip_norm=1.0)
    tx, _ = optim.make(**rates, **how, accumulate=2)
    _, kept = tx.update(jax.tree.map(lambda x: 0.3 * x, params), tx.init(params), params)
    read = {}  # as a checkpoint gives it
    for name, leaf in whole.named(kept):
        *inner, last = name.split("/")
        place = read
        for key in inner:
            place = place.setdefault(key, {})
        place[last] = leaf
    again = replay._moments(tx, params, read)
    assert jax.tree.structure(again) == jax.tree.structure(kept)
    _equal(again, kept)
    other, _ = optim.make(**rates, **how, accumulate=1)
    assert replay._moments(other, params, read) is None
    wide = {**params, "b": jnp.ones(5)}
    assert replay._moments(tx, wide, read) is None


def _keep(folder, name, ids):
    rows = len(ids)
    arrays = {n: np.zeros((rows, 1)) for n in mishap.NEEDED}
    np.savez(folder / name, step=5, id_B=np.array(ids), **arrays)


def test_a_replay_takes_the_rows_of_one_run(tmp_path):
    for count, names in ((4, "abcd"), (2, "ef")):
        for process, name in enumerate(names):
            _keep(tmp_path, f"step_5-of-process-{process}-of-{count}.npz", [name])
    for process in range(11):
        _keep(tmp_path, f"step_6-of-process-{process}-of-11.npz", [str(process)])
    _keep(tmp_path, "step_5.npz", ["g"])
    for name, ids in (
        ("step_5-of-process-1-of-4.npz", list("abcd")),
        ("step_5-of-process-0-of-2.npz", list("ef")),
        ("step_6-of-process-3-of-11.npz", [str(k) for k in range(11)]),
        ("step_5.npz", ["g"]),
    ):
        assert replay._read(tmp_path / name).id_B == ids
    (tmp_path / "step_5-of-process-2-of-4.npz").unlink()
    with pytest.raises(UserError, match="3 of the 4 parts of this batch lie there"):
        replay._read(tmp_path / "step_5-of-process-1-of-4.npz")
    for name in ("step_6.npz", "nowhere/step_6-of-process-0-of-2.npz"):
        with pytest.raises(UserError, match="there is no such file"):
            replay._read(tmp_path / name)


@pytest.mark.parametrize("text", ["{}", '{"method": "tvrl"}'])
def test_a_replay_names_a_configuration_that_is_none(tmp_path, text):
    (tmp_path / "nan").mkdir()
    (tmp_path / "config.json").write_text(text)
    _keep(tmp_path / "nan", "step_5.npz", ["a"])
    with pytest.raises(
        UserError, match=r"config\.json is not that of a run: config.augment lacks "
    ):
        replay.replay(tmp_path / "nan" / "step_5.npz")


def test_too_many_in_a_row_stop_the_run(train, tmp_path):
    skip = {"train.on_nan": "skip", "train.max_skips": 2, "train.checkpoint_every": 1}
    code, said = train(tmp_path, hooks={"nan_at": BAD}, **skip)
    assert code == 2 and "the last of 2 skipped in a row" in said, said
    # A replay would be of an earlier state, in which nothing is wrong.
    assert "its batch is kept in" in said and "tvrl_jax.replay" not in said
    assert mishap.read(tmp_path / "nan" / "step_3.npz").number == 3


def test_a_learning_rate_that_blows_up_is_stopped_and_its_batch_replayed(train, server, tmp_path):
    rates = {"optim.lr": 1e30, "optim.warmup_fraction": 0.0, "train.checkpoint_every": 1}
    code, said = train(tmp_path, **rates)
    assert code == 2 and "Traceback" not in said and "optim.lr" in said, said
    for leaf in jax.tree.leaves(state(tmp_path).tree):
        assert np.isfinite(leaf).all()
    number = state(tmp_path).step
    path = tmp_path / "nan" / f"step_{number}.npz"
    code, said = server.run("tvrl_jax/replay.py", f"--batch={path}")
    assert code == 0, said
    lines = said.splitlines()
    assert "8 series; computed from its own state" in said
    assert any(line.startswith("state: finite, at most ") for line in lines), said
    assert "augmented clips and times: finite" in lines and "loss: nan" in lines
    assert "update: params/" in said
    assert server.run("tvrl_jax/replay.py", f"--batch={tmp_path / 'config.json'}")[0] == 2
    np.savez(path.with_name("step_3.npz"), step=3, id_B=["s01"])
    code, said = server.run("tvrl_jax/replay.py", f"--batch={path.with_name('step_3.npz')}")
    assert code == 2 and "no batch that a run kept" in said
    code, said = server.run("tvrl_jax/replay.py", f"--batch={path.with_name('step_77.npz')}")
    assert code == 2 and "there is no such file" in said and "damaged" not in said
