"""The attentive probe: a learned query looks over the frames of a series, then a linear head."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from tvrl_jax.probing import heads, linear, passes
from tvrl_jax.probing.problem import Prediction, Problem

# what one draw needs of a problem
PER_DRAW = ("target_MN", "val_target_MJ", "val_weight_MJ", "seed_M")
EPSILON = 1e-5  # of the layer norm
DECAYED = {"query": True, "head": {"kernel": True, "bias": False}}


class Tokens(NamedTuple):
    """A split: L tokens of each of N series, without mean and of length sqrt(D); padding is 0."""

    token_NLD: np.ndarray  # float32
    valid_NL: np.ndarray  # bool


def tokens(token_FD, held_F, frames_N, limit: int) -> Tokens:
    """The frames of each series that a window holds, evenly thinned to at most `limit`.

    token_FD and held_F: as in `features.Features`; frames_N: frames of each series.
    """
    end_N = np.cumsum(frames_N)
    own = [
        start + np.flatnonzero(held_F[start:end])
        for start, end in zip(end_N - frames_N, end_N, strict=True)
    ]
    own = [
        place_P[np.linspace(0, len(place_P) - 1, min(limit, len(place_P))).round().astype(int)]
        for place_P in own
    ]
    length_N = np.array([len(place_P) for place_P in own])
    valid_NL = np.arange(length_N.max()) < length_N[:, None]
    token_NLD = np.zeros((*valid_NL.shape, token_FD.shape[1]), np.float32)
    token_NLD[valid_NL] = _normalise(token_FD[np.concatenate(own)])
    return Tokens(token_NLD, valid_NL)


def _normalise(token_PD):
    """Layer norm without weights."""
    token_PD = token_PD - token_PD.mean(1, keepdims=True)
    return token_PD / np.sqrt(token_PD.var(1, keepdims=True) + EPSILON)


def fit(
    splits: dict[str, Tokens],
    problem: Problem,
    *,
    learning_rates,
    weight_decays,
    batch_size: int,
    chunk: int,
    **steps,
) -> list[Prediction]:
    """AdamW; cell of the grid, and look at validation, with the least validation loss.

    Weights over the frames are softmax(query . LN(token) / sqrt(D)), so that a query of 0, the
    start, is the mean of the frames. `chunk` draws are fitted at once, each with the whole grid.

    splits: as from `tokens`. steps: epochs, min_steps and evaluations, as in `passes.steps`.
    """
    grid_G2 = np.asarray(list(itertools.product(learning_rates, weight_decays)), np.float32)
    train, val, test = jax.device_put(tuple(splits[s] for s in ("train", "val", "test")))
    scale = _moments(train)
    made: dict[int, Prediction] = {}
    fractions = dict.fromkeys(draw.fraction for draw in problem.draws)
    for fraction in tqdm(fractions, "attentive", unit="fraction", leave=False, disable=None):
        members = [m for m, draw in enumerate(problem.draws) if draw.fraction == fraction]
        draws = {name: jnp.asarray(getattr(problem, name)[members]) for name in PER_DRAW}
        draws["rows"] = jnp.asarray(_rows(problem, members, batch_size, **steps))
        best = _fit(
            train,
            val,
            scale,
            draws,
            jnp.asarray(grid_G2),
            kind=problem.kind,
            outputs=problem.outputs,
            evaluations=steps["evaluations"],
            chunk=min(chunk or len(members), len(members)),
        )
        output_MNK = np.asarray(_outputs(best["part"], test, scale))
        for k, m in enumerate(members):
            rate, decay = map(float, grid_G2[best["cell"][k]])
            choice = {"learning_rate": rate, "weight_decay": decay, "step": int(best["step"][k])}
            value = (problem.centre_M[m], problem.spread_M[m])
            test_NK = heads.decode(problem.kind, output_MNK[k], *value)
            made[m] = Prediction(problem.draws[m], test_NK, choice)
    return [made[m] for m in range(len(problem.draws))]


def _rows(problem: Problem, members, batch_size: int, **steps) -> np.ndarray:
    """Training rows of every draw and step [M, steps, B]; a small fraction is one whole batch."""
    draws = [problem.draws[m] for m in members]
    most = max(int(draw.used_N.sum()) for draw in draws)
    batch_size = min(batch_size, most)
    count = passes.steps(most, batch_size=batch_size, **steps)
    shape = dict(steps=count, batch_size=batch_size)
    return np.stack([passes.order(d.used_N, seed=d.start, **shape) for d in draws]).astype(np.int32)


@jax.jit
def _moments(train: Tokens):
    """Mean and standard deviation over the training series of the mean token; no labels."""
    mean_ND = train.token_NLD.sum(1) / train.valid_NL.sum(1)[:, None]
    mean_D, std_D = mean_ND.mean(0), mean_ND.std(0)
    return mean_D, jnp.where(std_D > 0, std_D, 1)


def forward(part: dict, token_BLD, valid_BL, scale):
    """Outputs of series, [B, K]."""
    score_BL = token_BLD @ part["query"] / token_BLD.shape[-1] ** 0.5
    weight_BL = jax.nn.softmax(score_BL, where=valid_BL, axis=-1)
    pooled_BD = jnp.einsum("bl,bld->bd", weight_BL, token_BLD)
    return heads.apply(linear.unscale(part["head"], *scale), pooled_BD)


@jax.jit
def _outputs(part_M, test: Tokens, scale):
    return jax.lax.map(lambda part: forward(part, *test, scale), part_M)


@functools.partial(jax.jit, static_argnames=("kind", "outputs", "evaluations", "chunk"))
def _fit(train, val, scale, draws, grid_G2, *, kind, outputs, evaluations, chunk):
    """The chosen part of every draw, with its cell of the grid, step and loss."""
    width = train.token_NLD.shape[-1]

    def one_draw(draw):
        head = heads.init(jax.random.key(draw["seed_M"]), width, outputs)
        head = jax.tree.map(lambda a: linear.START * a, head)
        start = {"query": jnp.zeros(width), "head": head}
        cell = functools.partial(_fit_cell, start, train, val, scale, draw, heads.loss(kind))
        best = jax.vmap(functools.partial(cell, evaluations))(grid_G2)
        picked = jnp.argmin(best["loss"])
        return {**jax.tree.map(lambda a: a[picked], best), "cell": picked}

    return jax.lax.map(one_draw, draws, batch_size=chunk)


def _fit_cell(start, train, val, scale, draw, loss, evaluations: int, pair):
    """One fit with (learning rate, weight decay): the part with the least validation loss."""
    optimiser = optax.adamw(pair[0], weight_decay=pair[1], mask=DECAYED)

    def error(part, rows_B):
        output_BK = forward(part, train.token_NLD[rows_B], train.valid_NL[rows_B], scale)
        return jnp.mean(loss(output_BK, draw["target_MN"][rows_B]))

    def step(carry, rows_B):
        part, state = carry
        update, state = optimiser.update(jax.grad(error)(part, rows_B), state, part)
        return (optax.apply_updates(part, update), state), None

    def evaluate(carry, numbered):
        number, rows_SB = numbered
        (part, state), _ = jax.lax.scan(step, carry[0], rows_SB)
        value_J = loss(forward(part, *val, scale), draw["val_target_MJ"])
        now = {"part": part, "loss": heads.mean(value_J, draw["val_weight_MJ"]), "step": number}
        better = now["loss"] < carry[1]["loss"]
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), now, carry[1])
        return ((part, state), best), None

    rows_ESB = draw["rows"].reshape(evaluations, -1, draw["rows"].shape[-1])
    number_E = (jnp.arange(evaluations, dtype=jnp.int32) + 1) * rows_ESB.shape[1]
    best = {"part": start, "loss": jnp.inf, "step": jnp.int32(0)}
    carry = ((start, optimiser.init(start)), best)
    return jax.lax.scan(evaluate, carry, (number_E, rows_ESB))[0][1]
