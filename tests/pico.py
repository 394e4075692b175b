"""Every learning rule on a model of 24 numbers a token, and raw batches for it."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import FrozenConfigDict

from tvrl_jax import state as states
from tvrl_jax import step
from tvrl_jax.learner import make_network
from tvrl_jax.models.sizes import SIZES, Size
from tvrl_jax.objectives import OBJECTIVES, supervised

ARCH = "pico"  # compiling is all that it costs
SIZES[ARCH] = Size(width=24, depth=1, heads=2)
FRAMES, STORED, SIDE = 4, 20, 16
WITH_BATCHNORM = ("tvrl",)  # the others with linear patches, which compile sooner


def config_of(method, **changes):
    config = importlib.import_module(f"configs.{method}").get_config()
    config.update_from_flattened_dict(
        {
            "clips.frames": FRAMES,
            "model.arch": ARCH,
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
        | ({} if method in WITH_BATCHNORM else {"model.stem": "patch", "model.patch_size": 8})
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
    return step.Learner(
        network, objective, FrozenConfigDict(rule), optax.sgd(1.0), abs, frozen, config.seed
    )


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
        "anchor_BV": rng.random((rows, windows)).astype(np.float32),
        "subject_B": np.arange(rows, dtype=np.int32) // 2,
        "target_BK": label.astype(np.float32),
        "weight_B": (np.arange(rows) < rows - 1).astype(np.float32),
    }


def at_random(shapes, rng):
    """Every parameter at random, none at its start of zero."""

    def draw(path, leaf):
        centre = 1.0 if path[-1].key in ("scale", "var") else 0.0
        spread = (leaf.shape[0] if len(leaf.shape) > 1 else 100) ** -0.5
        return jnp.asarray(centre + spread * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map_with_path(draw, shapes)


def at_rest(shapes):
    """Running statistics: means of 0, variances of 1."""
    return jax.tree.map_with_path(
        lambda path, leaf: jnp.full(leaf.shape, float(path[-1].key == "var"), leaf.dtype), shapes
    )


@functools.cache
def start(method) -> states.State:
    """Parameters at random."""
    fresh = functools.partial(
        states.create, learner_of(method).network, optax.sgd(1.0), seed=0, ema=0.9
    )
    rng = np.random.default_rng(1)
    state = jax.eval_shape(fresh)
    params, ema = (at_random(tree, rng) for tree in (state.params, state.ema))
    return states.State(jnp.int32(3), params, at_rest(state.extra), (), ema)
