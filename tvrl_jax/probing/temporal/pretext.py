"""The finished network before its own exercise: with blank images, and with exchanged ones."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tvrl_jax import metrics, step
from tvrl_jax.data.batch import Plan, read_batch
from tvrl_jax.data.clips import draw_clip
from tvrl_jax.losses import cosine
from tvrl_jax.objectives import latent, views
from tvrl_jax.results import FEW
from tvrl_jax.state import State, stream


class Trained(NamedTuple):
    """What pretraining left behind, its heads included. The optimiser's state is not needed."""

    learner: step.Learner
    state: State


class Retrieval(NamedTuple):
    """Between two augmented views of test series, as in pretraining."""

    top1: float  # with images
    blank_top1: float  # without: what the timestamps alone give
    chance: float
    series: int  # compared in all
    # effective rank of the embeddings that are compared, mean over batches; NaN of fewer than FEW
    # in a batch, which is low however they look
    rank: float
    inter_cosine: float  # of different patients


class Target(NamedTuple):
    """What becomes of the latent target when series exchange their images."""

    moved: float  # mean squared move / that between any two frames; 0 = it is blind to the image
    cosine: float  # of the target before and after


def batches(store, series, trained: Trained, *, size: int, seed: int) -> Iterator[dict]:
    """Every series once in random order, in equal batches of at most `size`; windows and views as
    drawn in pretraining. A remainder that fills no batch is left out."""
    draw = {**trained.learner.config.clips, "views": trained.learner.objective.views}
    relative = draw.pop("relative_time")
    rng = np.random.default_rng(seed)
    order = rng.permutation(series)
    count = -(-len(order) // size)
    rows = len(order) // count
    for start in range(0, count * rows, rows):
        plans = [
            Plan(int(i), *draw_clip(rng, store.series[i].frames, **draw))
            for i in order[start : start + rows]
        ]
        yield read_batch(store, plans, relative_time=relative)


def retrieval(store, series, trained: Trained, *, size: int, seed: int) -> Retrieval | None:
    """None for a method that compares no views, and for fewer than two series."""
    if trained.learner.objective.views < 2 or len(series) < 2:
        return None
    compare, found, rows = _comparer(trained.learner), [], 0
    for number, batch in enumerate(batches(store, series, trained, size=size, seed=seed)):
        rows = len(batch["weight_B"])
        blank = {**batch, "clip_BVTHWC": np.zeros_like(batch["clip_BVTHWC"])}
        top1, rank, inter = compare(trained.state, batch, number)
        found.append((top1, compare(trained.state, blank, number)[0], rank, inter))
    top1, blank_top1, rank, inter = (float(np.mean(column)) for column in zip(*found, strict=True))
    rank = rank if rows >= FEW else np.nan
    return Retrieval(top1, blank_top1, 1 / (2 * rows - 1), rows * len(found), rank, inter)


@functools.lru_cache(maxsize=1)
def _comparer(learner: step.Learner) -> Callable:
    """Compiled (state, batch, number) -> (top1, effective rank, inter-subject cosine)."""

    @jax.jit
    def compare(state: State, batch: dict, number):
        seen = step.draw_views(learner, batch, number)
        key = stream(learner.seed, "objective", number)
        rule = dict(learner.rule)
        outcome = learner.objective.loss(
            learner.network, state.params, state.extra, seen, key, 1.0, **rule
        )
        rank = metrics.effective_rank(outcome.embedding_BVE[:, 0])
        return outcome.metrics["top1"], rank, outcome.metrics["inter_cosine"]

    return compare


def target(store, series, trained: Trained, *, size: int, seed: int) -> Target | None:
    """Of the first batch; None for a method without latent target and for less than two series."""
    learner = trained.learner
    if "token" not in learner.objective.parts or len(series) < 2:
        return None
    batch = next(batches(store, series, trained, size=size, seed=seed))

    @jax.jit
    def both(state: State, batch: dict):
        seen = step.draw_views(learner, batch, 0)
        return exchange(functools.partial(target_of, learner, state), seen)

    return Target(*map(float, both(trained.state, batch)))


def target_of(learner: step.Learner, state: State, seen: dict) -> jax.Array:
    """The latent target of augmented views, as the objective takes it; [B, V, T, D]."""
    network, rule = learner.network, learner.rule
    if learner.config.train.ema_target:
        feature_BVTD = step.averaged_features(network, state, seen)
    else:
        feature_BVTD, _ = views.frame_features(network, state.params, state.extra, seen, None)
    return latent.target_of(feature_BVTD, seen, target_norm=rule["target_norm"])


def exchange(target_of: Callable, seen: dict) -> tuple[jax.Array, jax.Array]:
    """(share of the spread that the target moves, its cosine) when each series gets the images of
    the next one. Times stay; frames count that are valid in both."""
    other = {**seen, "clip_BVTHWC": jnp.roll(seen["clip_BVTHWC"], 1, axis=0)}
    valid_BVT = seen["valid_BVT"] & jnp.roll(seen["valid_BVT"], 1, axis=0)
    weight_BVT = valid_BVT.astype(jnp.float32)
    total = jnp.maximum(weight_BVT.sum(), 1)
    before, after = target_of(seen), target_of(other)
    mean_D = (weight_BVT[..., None] * before).sum((0, 1, 2)) / total
    spread = (weight_BVT * jnp.square(before - mean_D).sum(-1)).sum() / total
    moved = (weight_BVT * jnp.square(after - before).sum(-1)).sum() / total
    share = jnp.where(spread > 0, moved / jnp.maximum(2 * spread, 1e-30), 0.0)
    return share, (weight_BVT * cosine(before, after)).sum() / total
