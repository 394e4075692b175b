"""A training step without a cohort: the learner of a configuration, and the shapes of its batch."""

import argparse
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from tvrl_jax import optim, step
from tvrl_jax.compare import presets
from tvrl_jax.learner import find_objective, make_network
from tvrl_jax.objectives import OBJECTIVES

METHODS = tuple(name for name in OBJECTIVES if name != "supervised")  # labels need a cohort


def add_size(
    parser: argparse.ArgumentParser, *, arch: str, size: int, heads: int, batch_size: int
) -> None:
    """The flags that `settings` reads."""
    parser.add_argument("--arch", default=arch)
    parser.add_argument("--heads", type=int, default=heads, help="of the temporal attention")
    parser.add_argument("--size", type=int, default=size, help="side of the frames, pixels")
    parser.add_argument("--frames", type=int, default=8, help="of a clip")
    parser.add_argument("--batch_size", type=int, default=batch_size, help="series a step")


def settings(method: str, args: argparse.Namespace, changes: Mapping[str, Any]) -> ConfigDict:
    """A method's own configuration at the size that the flags say, with dotted keys changed."""
    config = presets().method(method, "own")
    size = {
        "clips.frames": args.frames,
        "data.image_size": args.size,
        "model.arch": args.arch,
        "model.image_size": args.size,
        "model.temporal_heads": args.heads,
        "train.batch_size": args.batch_size,
    }
    config.update_from_flattened_dict({**size, **changes})
    return config


def learner_of(config: ConfigDict) -> step.Learner:
    """As `tvrl_jax.learner.make_learner`, for methods that need no labels."""
    objective = find_objective(config)
    tx, schedule = optim.make(
        steps=config.train.steps, batch_size=config.train.batch_size, **config.optim
    )
    rule, frozen = FrozenConfigDict(config.objective), FrozenConfigDict(config)
    network = make_network(config, objective, outputs=0)
    return step.Learner(network, objective, rule, tx, schedule, frozen, config.seed)


def batch_shapes(config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """name -> shape and dtype of what `tvrl_jax.data.pipeline.train_batches` yields."""
    rows, windows, frames = config.train.batch_size, config.clips.windows, config.clips.frames
    side, channels = config.data.image_size, config.data.channels
    known = {
        "clip_BVTHWC": ((rows, windows, frames, side, side, channels), jnp.uint8),
        "time_BVT": ((rows, windows, frames), jnp.float32),
        "valid_BVT": ((rows, windows, frames), jnp.bool_),
        "anchor_BV": ((rows, windows), jnp.float32),
        "series_B": ((rows,), jnp.int32),
        "subject_B": ((rows,), jnp.int32),
        "weight_B": ((rows,), jnp.float32),
    }
    return {name: jax.ShapeDtypeStruct(*shape_and_dtype) for name, shape_and_dtype in known.items()}


def batch_of(config: ConfigDict, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch of those shapes: random frames, all of them there, at even times."""
    shapes = batch_shapes(config)
    made = {name: np.ones(shape.shape, shape.dtype) for name, shape in shapes.items()}
    clip = shapes["clip_BVTHWC"].shape
    made["clip_BVTHWC"] = np.random.default_rng(seed).integers(0, 256, clip, np.uint8)
    made["time_BVT"] *= np.arange(config.clips.frames, dtype=np.float32)
    rows = np.arange(config.train.batch_size, dtype=np.int32)
    return made | {"series_B": rows, "subject_B": rows}
