"""A batch computed in pieces gives the loss, gradients and statistics of the undivided batch."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import FrozenConfigDict
from parity import quick

from tvrl_jax import sharding, step
from tvrl_jax import state as states
from tvrl_jax.data.packing import Packing, capacity, places
from tvrl_jax.errors import UserError
from tvrl_jax.learner import make_network
from tvrl_jax.models import encoder, moments, pieces
from tvrl_jax.objectives import OBJECTIVES, supervised

FRAMES, STORED, SIDE = 4, 20, 16


@pytest.fixture(autouse=True)
def pico(monkeypatch):
    monkeypatch.setitem(encoder.SIZES, "pico", encoder.Size(width=24, depth=1, heads=2))


def config_of(method, **changes):
    config = importlib.import_module(f"configs.{method}").get_config()
    config.update_from_flattened_dict(
        {
            "clips.frames": FRAMES,
            "model.arch": "pico",
            "model.image_size": SIDE,
            "model.temporal_depth": 1,
            "model.temporal_heads": 2,
            "model.head_hidden": 16,
            "model.head_width": 8,
            "model.dropout": 0.0,
            "model.decoder_width": 12,
            "model.decoder_depth": 1,
            "train.steps": 10,
        }
        | ({"model.patch_size": 4} if method == "videomae" else {})
        | changes
    )
    if "start_fraction" in config.objective:
        config.objective.start_fraction = 0.0
    return config


def learner_of(method, **changes) -> step.Learner:
    config, objective = config_of(method, **changes), OBJECTIVES[method]
    rule = dict(config.objective)
    if method == "supervised":
        rule = supervised.constants(np.array([[1.0, 0], [3, 2], [5, 1]]), classes=(0, 3))
    network = make_network(config, objective, supervised.outputs(rule.get("classes", ())))
    frozen = FrozenConfigDict(config)
    return step.Learner(network, objective, FrozenConfigDict(rule), optax.sgd(1.0), abs, frozen)


def batch_of(method, rows):
    """Clips of one to four frames, right-padded; the last row only fills the batch."""
    rng, windows = np.random.default_rng(0), OBJECTIVES[method].windows
    valid = np.arange(FRAMES) < rng.integers(1, FRAMES + 1, (rows, windows, 1))
    valid[: rows // 2] = True
    time = np.cumsum(rng.uniform(0.5, 1.5, valid.shape), axis=-1)
    label = np.stack([rng.normal(size=rows), rng.integers(0, 3, rows)], axis=1)
    label[::3, 0] = label[1::4, 1] = np.nan
    shape = (rows, windows, FRAMES, STORED, STORED, 1)
    clip = rng.integers(0, 256, shape) * valid[..., None, None, None]
    return {
        "clip_BVTHWC": clip.astype(np.uint8),
        "time_BVT": (time * valid).astype(np.float32),
        "valid_BVT": valid,
        "start_BV": rng.random((rows, windows)).astype(np.float32),
        "subject_B": np.arange(rows, dtype=np.int32) // 2,
        "target_BK": label.astype(np.float32),
        "weight_B": (np.arange(rows) < rows - 1).astype(np.float32),
    }


def pack(batch, groups, parts):
    packing = Packing(groups * parts, 4, parts)
    length = capacity(batch["valid_BVT"], packing)
    return batch | {"packed_GVC": places(batch["valid_BVT"], packing.groups, length, parts)}


@functools.cache
def start(method) -> states.State:
    """Every parameter at random, none at its start of zero."""
    fresh = functools.partial(
        states.create, learner_of(method).network, optax.sgd(1.0), seed=0, ema=0.9
    )
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        centre = 1.0 if path[-1].key in ("scale", "var") else 0.0
        spread = (leaf.shape[0] if len(leaf.shape) > 1 else 100) ** -0.5
        return jnp.asarray(centre + spread * rng.normal(size=leaf.shape), leaf.dtype)

    state = jax.eval_shape(fresh)
    params, ema = (jax.tree.map_with_path(draw, tree) for tree in (state.params, state.ema))
    extra = jax.tree.map_with_path(
        lambda path, leaf: jnp.full(leaf.shape, float(path[-1].key == "var"), leaf.dtype),
        state.extra,
    )
    return states.State(jnp.int32(3), params, extra, (), ema)


def outcome(method, count, batch, state=None, **changes):
    """(gradients, (loss, metrics, BatchNorm statistics, embeddings)) of a batch in pieces."""
    learner = learner_of(method, **{"train.micro_batches": count, **changes})

    @quick
    def program(state, batch):
        def scalar(params):
            found = step._outcome(learner, params, state, batch)
            return found.loss, tuple(found)

        return jax.grad(scalar, has_aux=True)(state.params)

    return program(start(method) if state is None else state, batch)


def assert_equal(one, other, relative):
    """Gradients to within a fraction of their norm, all else to within one of its largest value."""
    (grads, found), (grads_other, found_other) = one, other
    norm = optax.tree.norm(grads_other)
    assert norm > 1e-3
    for (path, a), b in zip(
        jax.tree.leaves_with_path(grads), jax.tree.leaves(grads_other), strict=True
    ):
        assert np.abs(a - b).max() <= relative * norm, jax.tree_util.keystr(path)
    assert jax.tree.structure(found) == jax.tree.structure(found_other)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(found_other), strict=True):
        assert np.abs(a - b).max(initial=0) <= relative * np.abs(b).max(initial=1e-3)


@functools.cache
def whole(method):
    return outcome(method, 1, batch_of(method, 8))


@pytest.mark.parametrize("method", tuple(OBJECTIVES))
def test_four_pieces_are_the_whole_batch(method):
    assert_equal(outcome(method, 4, batch_of(method, 8)), whole(method), 1e-5)


def test_two_pieces_are_the_whole_batch():
    assert_equal(outcome("tvrl", 2, batch_of("tvrl", 8)), whole("tvrl"), 1e-5)
