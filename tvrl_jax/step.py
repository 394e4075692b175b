"""The compiled train step: (state, batch) -> (state, metrics, embedding)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import FrozenConfigDict

from tvrl_jax import metrics as measures
from tvrl_jax import optim, sharding
from tvrl_jax.augment import Source, apply, draw
from tvrl_jax.models.build import Network
from tvrl_jax.models.pieces import in_pieces
from tvrl_jax.objectives import Objective
from tvrl_jax.objectives.views import counted, each, spatial_rows
from tvrl_jax.state import State, stream

IN_VIEWS = ("clip_BVTHWC", "time_BVT", "valid_BVT")


class Learner(NamedTuple):
    """Everything but the state and the batch that a step needs, all of it static."""

    network: Network
    objective: Objective
    rule: FrozenConfigDict  # keyword arguments of the objective's loss
    tx: optax.GradientTransformation
    schedule: Callable  # update count -> learning rate
    config: FrozenConfigDict
    # config.seed. Of a program that serves every seed it is an argument, uint32 (`seeded`).
    seed: int | jax.Array


def seeded(function: Callable, learner: Learner) -> Callable:
    """`function(learner, *rest)` as one of (seed, *rest).

    Compiled with the seed as an argument, it is found in the compilation cache by runs of the same
    configuration that differ in their seed alone.
    """

    @functools.wraps(function)  # by its name a program is found in the cache and in a trace
    def of_seed(seed, *rest):
        return function(learner._replace(seed=seed), *rest)

    return of_seed


def _source(learner: Learner, batch: dict, step) -> Source:
    config = learner.config
    return draw(
        stream(learner.seed, "augment", step),
        *(batch[name] for name in IN_VIEWS),
        views=learner.objective.views,
        interval_scale=config.augment.interval_scale,
    )


def draw_views(learner: Learner, batch: dict, step) -> dict:
    """The batch with `views` augmented clips a series, float in [0, 1]."""
    config = learner.config
    source = _source(learner, batch, step)
    clip, time, valid = apply(source, size=config.model.image_size, **config.augment)
    return {**batch, "clip_BVTHWC": clip, "time_BVT": time, "valid_BVT": valid}


def _network(learner: Learner) -> Network:
    """The network, working in as many pieces as there are micro-batches."""
    config = learner.config
    if config.train.micro_batches == 1:
        return learner.network

    def render(source):
        """The augmented clips of one view, [b, T, H, W, C]."""
        of_view = jax.tree.map(lambda x: x[:, None], source)
        return apply(of_view, size=config.model.image_size, **config.augment)[0][:, 0]

    exact = config.train.batchnorm == "exact"
    return in_pieces(learner.network, config.train.micro_batches, exact=exact, render=render)


def _views(learner: Learner, batch: dict, step) -> dict:
    """What the objective is given: as `draw_views`, but in pieces clips are only drawn there.

    Of the whole batch's augmented clips nothing is then asked, so that they are not computed.
    """
    views = draw_views(learner, batch, step)
    if learner.config.train.micro_batches == 1:
        return views
    return views | {"clip_BVTHWC": _source(learner, batch, step)}


def averaged_features(network: Network, state: State, views: dict) -> jax.Array:
    """What the averaged encoder makes of each frame [B, V, T, D], without dropout.

    BatchNorm takes the batch's statistics, as in the learning encoder: the running ones are of that
    one's activations, which can be far from those of the averaged parameters.
    """
    params = {"encoder": sharding.gathered(state.ema)}
    seen_BVT = views["valid_BVT"] & counted(views)[:, None, None]

    def of_view(extra, rows, _):
        return network.spatial(params, extra, *rows, train=True, key=None)

    return each(of_view, state.extra, spatial_rows(views, seen_BVT))[0]


def progress(step: jax.Array, steps: int) -> jax.Array:
    """The share of the training that is done at the middle of a step.

    There no rounding moves what begins with a step; at its beginning, a compiled quotient may lie
    just below the share at which it should begin.
    """
    return (step + 0.5) / steps


def _outcome(learner: Learner, params, state: State, batch: dict):
    config, params = learner.config, sharding.gathered(params)
    network, views = _network(learner), _views(learner, batch, state.step)
    if config.train.ema_target:
        views["latent_target_BVTD"] = averaged_features(network, state, views)
    return learner.objective.loss(
        network,
        params,
        state.extra,
        views,
        stream(learner.seed, "objective", state.step),
        progress(state.step, config.train.steps),
        **learner.rule,
        **_computing(learner),
    )


def _computing(learner: Learner) -> dict:
    """How the objective is to be computed, which does not change what it is."""
    compares = "projection" in learner.objective.parts
    return {"tile": learner.config.train.contrast_tile} if compares else {}


def train_step(learner: Learner, state: State, batch: dict) -> tuple[State, dict, jax.Array]:
    """One step: an update, or with `optim.accumulate` its part of one.

    Returns the new state, scalars to log and the views' embeddings [B, V, E] (empty if the
    objective compares none).
    """

    def loss_of(params):
        outcome = _outcome(learner, params, state, batch)
        return outcome.loss, outcome

    grads, outcome = jax.grad(loss_of, has_aux=True)(state.params)
    updates, opt_state = learner.tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    steps = state.step // learner.config.optim.accumulate
    logged = {
        "loss": outcome.loss,
        **outcome.metrics,
        "learning_rate": learner.schedule(optim.updates_done(state.opt_state, steps)),
        "gradient_norm": optax.tree.norm(grads),
    }
    ema = _average(learner, state.ema, params, opt_state)
    new = State(state.step + 1, params, outcome.extra, opt_state, ema)
    embedding = outcome.embedding_BVE
    return new, logged, jnp.zeros((0, 0, 0)) if embedding is None else embedding


def _average(learner: Learner, ema, params, opt_state):
    """The averaged encoder moves once per update, of which several steps may make one."""
    decay = learner.config.train.ema
    if not decay:
        return ema
    moved = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, params["encoder"])
    if learner.config.optim.accumulate == 1:
        return moved
    updated = opt_state.mini_step == 0
    return jax.tree.map(lambda a, b: jnp.where(updated, b, a), ema, moved)


def embedding_rank(embedding_BVE: jax.Array) -> jax.Array:
    """Effective rank of the first view's embeddings."""
    return measures.effective_rank(embedding_BVE[:, 0])


def blank_retrieval(learner: Learner, state: State, batch: dict) -> jax.Array:
    """Top-1 retrieval between views when every image is blank: what the timestamps alone give.

    Well above chance, 1 / (2B - 1), it is the clock that is being learned.
    """
    blank = {**batch, "clip_BVTHWC": jnp.zeros_like(batch["clip_BVTHWC"])}
    return _outcome(learner, state.params, state, blank).metrics["top1"]
