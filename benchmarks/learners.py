"""A training step without a cohort: the learner of a configuration, and the shapes of its batch."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict

from tvrl_jax import optim, step
from tvrl_jax.learner import find_objective, make_network


def learner_of(config: ConfigDict) -> step.Learner:
    """As `tvrl_jax.learner.make_learner`, for methods that need no labels."""
    objective = find_objective(config)
    tx, schedule = optim.make(
        steps=config.train.steps, batch_size=config.train.batch_size, **config.optim
    )
    rule, frozen = FrozenConfigDict(config.objective), FrozenConfigDict(config)
    network = make_network(config, objective, outputs=0)
    return step.Learner(network, objective, rule, tx, schedule, frozen)


def batch_shapes(config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """name -> shape and dtype of what `tvrl_jax.data.pipeline.train_batches` yields."""
    rows, windows, frames = config.train.batch_size, config.clips.windows, config.clips.frames
    side, channels = config.data.image_size, config.data.channels
    known = {
        "clip_BVTHWC": ((rows, windows, frames, side, side, channels), jnp.uint8),
        "time_BVT": ((rows, windows, frames), jnp.float32),
        "valid_BVT": ((rows, windows, frames), jnp.bool_),
        "newest_BV": ((rows, windows), jnp.float32),
        "series_B": ((rows,), jnp.int32),
        "subject_B": ((rows,), jnp.int32),
        "weight_B": ((rows,), jnp.float32),
    }
    return {name: jax.ShapeDtypeStruct(*shape_and_dtype) for name, shape_and_dtype in known.items()}
