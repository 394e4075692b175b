"""A run ends the same whether or not it was interrupted, and says why it stops."""

import json
import logging
import math
import os
import signal
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import tiny

from configs import cvrl, supervised, tvrl
from tvrl_jax import agreement, guard, loop, sharding, trainer
from tvrl_jax import state as states
from tvrl_jax.checkpoint import restore_for_reading, saving
from tvrl_jax.data import opening
from tvrl_jax.errors import UserError
from tvrl_jax.learner import find_objective, make_learner
from tvrl_jax.tally import Tally

RATES = ("steps_per_second", "clips_per_second", "data_wait_share")


@pytest.fixture
def config(root):
    return tiny.shrink(tvrl.get_config(), root)


def _state(folder):
    groups = ("step", "params", "extra", "opt_state", "ema")
    return restore_for_reading(folder, groups, "newest").tree


def _rows(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in RATES} for row in rows]


def _interrupt_at(monkeypatch, step: int, number: int):
    """Sends this process a signal while it waits for the batch of a step."""
    whole = trainer.train_batches

    def batches(*args, start_step, **kwargs):
        inner = whole(*args, start_step=start_step, **kwargs)

        class Counting:
            at = start_step

            def __iter__(self):
                return self

            def __next__(self):
                if self.at == step:
                    os.kill(os.getpid(), number)
                self.at += 1
                return next(inner)

            def close(self):
                inner.close()

        return Counting()

    monkeypatch.setattr(trainer, "train_batches", batches)


def test_interrupted_equals_uninterrupted(config, tmp_path, monkeypatch):
    config.train.ema = 0.9
    trainer.train(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        _interrupt_at(patch, 4, signal.SIGTERM)
        with pytest.raises(SystemExit) as stop:
            trainer.train(config, tmp_path / "parts")
    assert stop.value.code == 128 + signal.SIGTERM
    saved = restore_for_reading(tmp_path / "parts", ("step",), "newest")
    # Out of turn, and so never the best, however good the few losses before it were.
    assert saved.step == 5 and saved.meta["metrics"]["loss"] == math.inf
    assert restore_for_reading(tmp_path / "parts", ("step",), "best").step == 3
    trainer.train(config, tmp_path / "parts")
    whole, parts = _state(tmp_path / "whole"), _state(tmp_path / "parts")
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    assert _rows(tmp_path / "whole") == _rows(tmp_path / "parts")


def test_a_last_checkpoint_out_of_turn_is_never_the_best(config):
    config.train.update(steps=7, checkpoint_every=3)
    saved = {}
    run = SimpleNamespace(
        learner=SimpleNamespace(config=config),
        checkpoints=SimpleNamespace(save=lambda done, *_: saved.update({done: _[-1]["loss"]})),
        log=SimpleNamespace(sync=lambda: None),
    )
    counts = Tally([], [])
    for done, loss in enumerate((4.0, 5.0, 6.0, 1.0, 2.0, 3.0, 0.5), start=1):
        counts.losses.append(loss)
        if loop._is_due(config, done):
            loop._save(run, SimpleNamespace(_asdict=dict), done, counts)
    assert saved == {3: 5.0, 6: 2.0, 7: math.inf}
    assert counts.losses == [0.5]  # counted on, should the run be given more steps


def test_who_resumes_holds_one_state_at_a_time(config, tmp_path, monkeypatch):
    """A device that holds a state for training need not have room for a second one."""
    _interrupt_at(monkeypatch, 4, signal.SIGTERM)
    with pytest.raises(SystemExit):
        trainer.train(config, tmp_path)
    monkeypatch.undo()
    fresh, held, create = [], [], trainer.states.create_sharded
    restore = trainer.Checkpoints.restore_newest

    def created(*args, **options):
        fresh.append(create(*args, **options))
        return fresh[0]

    def restored(checkpoints, abstract):
        held.extend(leaf.is_deleted() for leaf in jax.tree.leaves(fresh[0]))
        return restore(checkpoints, abstract)

    monkeypatch.setattr(trainer.states, "create_sharded", created)
    monkeypatch.setattr(trainer.Checkpoints, "restore_newest", restored)
    trainer.train(config, tmp_path)
    assert held and all(held)


def test_a_finished_run_is_left_alone(config, tmp_path):
    trainer.train(config, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    trainer.train(config, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    done, config.train.steps = config.train.steps, 1
    kept = (tmp_path / "config.json").read_bytes()
    with pytest.raises(UserError, match=f"train.steps = 1, but .* has done {done} steps already"):
        trainer.train(config, tmp_path, resume=True)
    assert (tmp_path / "config.json").read_bytes() == kept


def test_spread_parameters_give_the_same_run(config, tmp_path, monkeypatch):
    """Every device holding all parameters = parameters spread over eight devices."""
    trainer.train(config, tmp_path / "data")
    monkeypatch.setattr(sharding, "MIN_SHARDED_SIZE", 2**10)  # else all of nano's stay whole
    held, whole = [], trainer.loop

    def watched(run, batches, state, *rest):
        held.extend(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
        return whole(run, batches, state, *rest)

    monkeypatch.setattr(trainer, "loop", watched)
    config.train.sharding = "full"
    trainer.train(config, tmp_path / "full")
    assert held.count(False) > 20
    for one, other in zip(_rows(tmp_path / "data"), _rows(tmp_path / "full"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=2e-4)


@pytest.mark.parametrize("kind", ["data", "full"])
def test_what_a_run_begins_with_does_not_depend_on_the_devices(config, monkeypatch, kind):
    """To the last bit: drawn in parts, some numbers would be rounded otherwise."""
    monkeypatch.setattr(sharding, "MIN_SHARDED_SIZE", 2**8)
    learner = make_learner(config, find_objective(config), None)
    mesh = sharding.make_mesh()
    one = jax.sharding.Mesh(mesh.devices[:1], mesh.axis_names, axis_types=mesh.axis_types)
    eight, alone = (
        states.create_sharded(learner.network, learner.tx, seed=0, ema=0.9, mesh=m, kind=kind)
        for m in (mesh, one)
    )
    spread = [not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(eight)]
    assert mesh.size == 8 and (sum(spread) > 20 if kind == "full" else not any(spread))
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((eight, alone)))


def test_what_is_logged(config, tmp_path):
    config.log.diagnose_every = 3  # a diagnosis between two regular rows has its own
    trainer.train(config, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 2, 3, 4, 5]
    wanted = """loss loss_contrastive loss_latent top1 top5 mean_rank inter_cosine intra_cosine
    effective_rank learning_rate gradient_norm clips_per_second data_wait_share"""
    assert set(wanted.split()) <= set(rows[0])
    assert rows[0]["blank_chance"] == pytest.approx(1 / 15) and "blank_top1" in rows[2]
    assert "blank_top1" not in rows[1] and "blank_top1" not in rows[3]
    assert (tmp_path / "samples.npz").exists() and (tmp_path / "config.json").exists()


def test_a_step_moves_nothing_unasked_and_a_checkpoint_may_leave_the_device(
    config, tmp_path, monkeypatch
):
    """On a CPU nothing is moved: an accelerator stops what it is forbidden, such as checksums."""
    seen = {}

    def watch(module, name):
        whole = getattr(module, name)

        def watched(*args, **kwargs):
            seen.setdefault(name, set()).add(jax.config.jax_transfer_guard_device_to_host)
            return whole(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    watch(guard.step, "train_step")  # as it is traced
    watch(saving.digest, "checksums")
    watch(loop, "record")
    loop._blank.cache_clear()
    trainer.train(config, tmp_path / "run")
    assert seen["train_step"] == {"disallow"}
    assert "disallow" not in seen["checksums"] | seen["record"]


def test_a_trace_is_written_when_asked_for(config, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tvrl_jax"), "propagate", True)
    caplog.set_level(logging.INFO, "tvrl_jax")
    config.update_from_flattened_dict({"train.steps": 2, "profile.steps": "1:2"})
    trainer.train(config, tmp_path)
    (trace,) = (tmp_path / "profile").rglob("*.trace.json.gz")
    assert trace.stat().st_size > 1000
    assert f"trace of steps 1 to 1 in {tmp_path / 'profile'}" in caplog.text


def test_a_window_that_is_none_is_refused_before_a_folder_is_made(config, tmp_path):
    config.profile.steps = "5:3"
    with pytest.raises(UserError, match="config.profile.steps"):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_state_of_a_step_takes_the_place_of_the_one_before(config, tmp_path, monkeypatch):
    """Every buffer of the old state is given up, so that parameters are held once, not twice."""
    seen, whole = {}, loop._compile

    def kept(learner, state):
        program = whole(learner, state)

        def step(seed, state, *rest):
            if not seen:
                text = program.lower(seed, state, *rest).compile().as_text()
                seen["aliases"] = text.split("input_output_alias=", 1)[1].split("\n", 1)[0]
                seen["state"] = state
            return program(seed, state, *rest)

        return step

    monkeypatch.setattr(loop, "_compile", kept)
    config.train.steps = 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*donated buffers.*")
        trainer.train(config, tmp_path)
    leaves = jax.tree.leaves(seen["state"])
    assert all(leaf.is_deleted() for leaf in leaves)
    assert seen["aliases"].count("alias)") == len(leaves)


def test_a_loss_that_is_not_finite_stops_with_the_place(config, tmp_path):
    config.optim.lr = 1e30
    config.train.checkpoint_every = 1
    with pytest.raises(UserError, match=r"loss of step \d+ is .*last good checkpoint"):
        trainer.train(config, tmp_path)


def test_parameters_that_are_not_finite_are_no_update(monkeypatch):
    """Though loss and gradient are: a huge step from finite numbers."""
    rule = SimpleNamespace(config=SimpleNamespace(train=SimpleNamespace(on_nan="stop")))
    logged = {"loss": jnp.float32(1), "gradient_norm": jnp.float32(1)}
    before = states.State(jnp.int32(0), {"a": jnp.ones(2)}, {}, (), {})
    for made, finite in ((jnp.array([1.0, jnp.inf]), False), (jnp.zeros(2), True)):
        after = before._replace(step=jnp.int32(1), params={"a": made})
        monkeypatch.setattr(guard.step, "train_step", lambda *_, after=after: (after, logged, 0))
        kept, _, told, _ = guard.guarded_step(rule, before, jnp.int32(0), {})
        assert bool(told[guard.FINITE]) == finite and int(kept.step) == finite
        np.testing.assert_array_equal(kept.params["a"], made if finite else 1)


def test_a_batch_that_does_not_divide_is_refused(config, tmp_path):
    config.train.batch_size = 12
    with pytest.raises(UserError, match=r"batch_size = 12 .* 8 devices: use 8 or 16"):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_averaged_encoder_may_give_the_target(config, tmp_path):
    config.update_from_flattened_dict({"train.ema": 0.9, "objective.start_fraction": 0.0})
    trainer.train(config, tmp_path / "own")
    config.train.ema_target = True
    trainer.train(config, tmp_path / "averaged")
    own, averaged = _rows(tmp_path / "own"), _rows(tmp_path / "averaged")
    # Two programs round differently.
    first = own[0]["loss_contrastive"]
    assert averaged[0]["loss_contrastive"] == pytest.approx(first, rel=3e-6)
    # At the start there is nothing to average.
    assert averaged[0]["loss_latent"] == pytest.approx(own[0]["loss_latent"], rel=1e-4)
    assert all(
        np.isfinite(b["loss_latent"]) and a["loss_latent"] != b["loss_latent"]
        for a, b in zip(own[1:], averaged[1:], strict=True)
    )


def test_the_averaged_encoder_moves_once_per_update(config, tmp_path, caplog):
    """Of two updates, each of three steps: what an average over steps would decay six times."""
    config.update_from_flattened_dict({"train.ema": 0.5, "optim.accumulate": 3, "train.steps": 6})
    config.train.checkpoint_every = 3
    trainer.train(config, tmp_path)
    assert "averages over some 2 updates, and the run makes 2" in caplog.text
    half, whole = (
        restore_for_reading(tmp_path, ("params", "ema"), step).tree for step in ("3", "6")
    )
    expected = jax.tree.map(lambda a, b: (a + b) / 2, half["ema"], whole["params"]["encoder"])
    for a, b in zip(jax.tree.leaves(whole["ema"]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_another_model_is_refused_and_the_folder_stays_as_it_is(config, tmp_path):
    trainer.train(config, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    config.update_from_flattened_dict({"model.arch": "micro", "train.steps": 7})
    with pytest.raises(UserError, match=r"step 6 is of another model \(params/.* is \(.*, not"):
        trainer.train(config, tmp_path, resume=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step_is_not_lost(config, tmp_path, monkeypatch, number):
    whole = trainer.states.create_sharded

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), number)
        return whole(*args, **kwargs)

    monkeypatch.setattr(trainer.states, "create_sharded", interrupted)
    with pytest.raises(SystemExit) as stop:
        trainer.train(config, tmp_path / "run")
    assert stop.value.code == 128 + number and not (tmp_path / "run").exists()


def test_a_signal_is_not_lost_where_the_data_cannot_be_read_just_then(
    config, tmp_path, monkeypatch, caplog
):
    rounds = []

    def run(*args):
        rounds.append(args)
        if len(rounds) == 1:
            os.kill(os.getpid(), signal.SIGTERM)  # while it waits for a batch ...
            raise trainer.Unreadable("x.npy has gone.")  # ... which then does not come

    monkeypatch.setattr(trainer, "_run", run)
    monkeypatch.setattr(logging.getLogger("tvrl_jax"), "propagate", True)
    config.data.on_bad = "skip"
    with pytest.raises(SystemExit) as stop:
        trainer.train(config, tmp_path)
    assert stop.value.code == 128 + signal.SIGTERM and len(rounds) == 1
    assert "x.npy has gone." in caplog.messages


def _one_split(root, folder, where, **changes):
    """The cohort with other values in the rows that `where` holds true of."""
    table = pd.read_csv(root / "cohort.csv", dtype=str)
    for column, value in changes.items():
        table.loc[where(table), column] = value
    table["path"] = [str(root / path) for path in table.path]
    folder.mkdir()
    table.to_csv(folder / "cohort.csv", index=False)
    return str(folder)


@pytest.mark.parametrize(
    ("method", "where", "changes", "words"),
    [
        ("tvrl", lambda t: t.split == "train", {"split": "val"}, "train split holds no series"),
        ("supervised", lambda t: t.split == "train", {"radius": ""}, '"radius".* have no value'),
        ("supervised", lambda t: t.split == "train", {"radius": "5"}, "have one value only"),
        ("supervised", lambda t: t.split == "train", {"large": "1"}, '"large".* one value only'),
    ],
)
def test_a_cohort_with_nothing_to_learn_is_refused_before_a_folder_is_made(
    root, tmp_path, method, where, changes, words
):
    config = tiny.shrink({"tvrl": tvrl, "supervised": supervised}[method].get_config(), root)
    config.data.root = _one_split(root, tmp_path / "cohort", where, **changes)
    with pytest.raises(UserError, match=words):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_cohort_of_one_patient_is_noted(config, root, tmp_path, caplog, monkeypatch):
    one = _one_split(root, tmp_path / "cohort", lambda t: t.subject > "s00", split="val")
    monkeypatch.setattr(logging.getLogger("tvrl_jax"), "propagate", True)
    for folder, noted in ((one, True), (str(root), False)):
        caplog.clear()
        config.data.root = folder
        store = opening.open_cohort(config.data)
        agreement.check_cohort(config, find_objective(config), store)
        assert ("holds one patient" in caplog.text) == noted


def test_a_batch_larger_than_the_cohort_is_noted(config, root, caplog, monkeypatch):
    config.train.batch_size = 16
    store = opening.open_cohort(config.data)
    monkeypatch.setattr(logging.getLogger("tvrl_jax"), "propagate", True)
    for size, noted in ((16, True), (12, False)):
        caplog.clear()
        config.train.batch_size = size
        agreement.check_cohort(config, find_objective(config), store)
        assert ("a series several times" in caplog.text) == noted


@pytest.mark.parametrize(
    ("method", "ema", "hint"), [("tvrl", 0.0, "train.ema"), ("cvrl", 0.9, "predicts no features")]
)
def test_an_averaged_target_that_cannot_be_is_refused(root, tmp_path, method, ema, hint):
    config = tiny.shrink({"tvrl": tvrl, "cvrl": cvrl}[method].get_config(), root)
    config.update_from_flattened_dict({"train.ema": ema, "train.ema_target": True})
    with pytest.raises(UserError, match=hint):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
