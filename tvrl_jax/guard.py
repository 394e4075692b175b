"""A train step that leaves the state as it is when what comes out is not finite."""

import jax
import jax.numpy as jnp

from tvrl_jax import step
from tvrl_jax.state import State

FINITE = "finite"  # in the step's metrics: whether the update was applied


def guarded_step(
    learner: step.Learner, state: State, number: jax.Array, batch: dict
) -> tuple[State, jax.Array, dict, jax.Array]:
    """Step `number`, int32: one update, unless its loss, its gradient, or the statistics or
    parameters that it makes are not finite.

    Such a step changes no parameter, statistic, average or moment. With train.on_nan="skip" only
    the count of steps goes on. With "stop" that stands still too, and so does the state in every
    later step: the host learns of the loss when the next step is under way already, and the state
    that it then holds is the one that the loss was computed from.

    Returns the state, the next number, and `train_step`'s metrics, with "finite", and embeddings.
    """
    new, logged, embedding = step.train_step(learner, state, batch)
    finite = jnp.isfinite(logged["loss"]) & jnp.isfinite(logged["gradient_norm"])
    for leaf in jax.tree.leaves((new.extra, new.params)):
        finite &= jnp.isfinite(leaf).all()
    skip = learner.config.train.on_nan == "skip"
    kept = _choose(finite if skip else finite & (state.step == number), new, state)
    if skip:
        kept = kept._replace(step=new.step)
    return kept, number + 1, {**logged, FINITE: finite}, embedding


def _choose(condition: jax.Array, new: State, old: State) -> State:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
