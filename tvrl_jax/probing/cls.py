"""The published probe: a new temporal CLS token learns with the head, through frozen blocks."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from tvrl_jax.errors import UserError
from tvrl_jax.probing import heads, passes, windows
from tvrl_jax.probing.features import Encoder, is_joint
from tvrl_jax.probing.problem import Prediction, Problem
from tvrl_jax.probing.windows import Windows

AT_ONCE = 64  # windows of a validation or test pass that share one call


class Clips(NamedTuple):
    """A split: the frame features that are cached, and the windows over them."""

    frame_FD: np.ndarray
    windows: Windows


def with_cls(params: dict, cls_D) -> dict:
    """The parameters with another temporal CLS token; nothing else differs."""
    encoder = params["encoder"]
    temporal = {**encoder["temporal"], "cls": cls_D}
    return {**params, "encoder": {**encoder, "temporal": temporal}}


def start(key, width: int, outputs: int) -> dict:
    """A CLS token from U(+-sqrt(6 / 2D)) and a head."""
    of_cls, of_head = jax.random.split(key)
    limit = (6 / (2 * width)) ** 0.5
    cls_D = jax.random.uniform(of_cls, (width,), minval=-limit, maxval=limit)
    return {"cls": cls_D, "head": heads.init(of_head, width, outputs)}


def forward(network, params, part: dict, feature_BTD, time_BT, valid_BT):
    """Outputs of windows of frame features, [B, K]."""
    x_BTD = network.embed_time(params, feature_BTD, time_BT)
    own = with_cls(params, part["cls"])
    cls_BD, _ = network.temporal(own, x_BTD, valid_BT, train=False, key=None)
    return heads.apply(part["head"], cls_BD)


def fit(
    encoder: Encoder,
    clips: dict[str, Clips],
    problem: Problem,
    *,
    learning_rates,
    weight_decays,
    epochs: int,
    batch_size: int,
    min_steps: int,
    evaluations: int,
    val_windows: int,
    chunk: int,
) -> list[Prediction]:
    """All draws x grid cells, `chunk` fits in one program; the least validation loss is chosen.

    Each step shows one random window of `batch_size` series. Validation averages the outputs of
    `val_windows` windows of a series, test those of all dense windows, before the softmax.
    Raises UserError for a joint encoder, which has no features of single frames to cache.
    """
    if is_joint(encoder):
        raise UserError(
            'kind "cls" needs a temporal encoder over frames, and a VideoMAE encoder is joint; '
            'use kind "linear", "knn" or "finetune".'
        )
    by_draw: dict[int, Prediction] = {}
    for fraction in dict.fromkeys(draw.fraction for draw in problem.draws):
        members = [m for m, draw in enumerate(problem.draws) if draw.fraction == fraction]
        rows = max(int(problem.draws[m].used_N.sum()) for m in members)
        count = passes.steps(
            rows,
            batch_size=batch_size,
            epochs=epochs,
            min_steps=min_steps,
            evaluations=evaluations,
        )
        ids = {m: _ids(clips["train"].windows, problem, m, count, batch_size) for m in members}
        run = _program(encoder, clips, problem, evaluations, val_windows)
        cells = list(itertools.product(members, learning_rates, weight_decays))
        fitted = _run(run, encoder, problem, ids, cells, chunk, f"cls, fraction {fraction:g}")
        for m in members:
            own = [i for i, cell in enumerate(cells) if cell[0] == m]
            best = min(own, key=lambda i: fitted[i]["loss"])
            choice = {"learning_rate": cells[best][1], "weight_decay": cells[best][2]}
            choice["step"] = int(fitted[best]["step"])
            test_NK = _test(encoder, clips["test"], problem, m, fitted[best]["part"])
            by_draw[m] = Prediction(problem.draws[m], test_NK, choice)
    return [by_draw[m] for m in range(len(problem.draws))]


def _ids(table: Windows, problem: Problem, m: int, steps: int, batch_size: int) -> np.ndarray:
    """The window shown at each step and row, [steps, batch_size]."""
    draw = problem.draws[m]
    row = passes.order(draw.used_N, steps=steps, batch_size=batch_size, seed=draw.seed)
    count_N = np.bincount(table.series_W, minlength=len(draw.used_N))
    first_N = np.cumsum(count_N) - count_N
    uniform = np.random.default_rng(draw.seed + 1).random(row.shape)
    return (first_N[row] + (uniform * count_N[row]).astype(int)).astype(np.int32)


def _run(run, encoder, problem: Problem, ids, cells, chunk: int, title: str) -> list[dict]:
    """Every cell's best part, in chunks of one shape (the last one repeats its last cell)."""
    fitted = []
    size = min(chunk or len(cells), len(cells))
    for begin in tqdm(range(0, len(cells), size), title, unit="chunk", leave=False, disable=None):
        mine = cells[begin : begin + size]
        padded = mine + [mine[-1]] * (size - len(mine))
        member = np.array([cell[0] for cell in padded])
        rates = np.array([cell[1:] for cell in padded], np.float32)
        given = {name: getattr(problem, name)[member] for name in PER_FIT}
        given["ids"] = np.stack([ids[m] for m in member])
        best = jax.device_get(run(encoder.params, given, rates))
        fitted += [jax.tree.map(lambda a, i=i: a[i], best) for i in range(len(mine))]
    return fitted


PER_FIT = ("target_MN", "val_target_MJ", "val_weight_MJ", "seed_M")


def _program(encoder: Encoder, clips: dict[str, Clips], problem: Problem, evaluations, limit):
    """Compiled (params, per-fit arrays, rates) -> the best part of every fit."""
    network = encoder.network
    few = windows.spread(clips["val"].windows, limit)
    train, val = _on_device(clips["train"]), _on_device(clips["val"]._replace(windows=few))
    width, series = train.frame_FD.shape[1], problem.val_target_MJ.shape[1]
    loss = heads.loss(problem.kind)
    few_J = np.bincount(few.series_W, minlength=series)

    def error(part, params, fit, ids_B):
        output_BK = _outputs(network, params, part, train, ids_B)
        return jnp.mean(loss(output_BK, fit["target_MN"][train.windows.series_W[ids_B]]))

    def val_error(part, params, fit):
        output = functools.partial(_output, network, params, part, val)
        output_WK = jax.lax.map(output, jnp.arange(len(few.series_W)), batch_size=AT_ONCE)
        total_JK = jax.ops.segment_sum(output_WK, val.windows.series_W, series)
        value_J = loss(total_JK / few_J[:, None], fit["val_target_MJ"])
        return heads.mean(value_J, fit["val_weight_MJ"])

    def one(params, fit, pair):
        optimiser = optax.adamw(pair[0], weight_decay=pair[1])
        ids = fit["ids"].reshape(evaluations, -1, fit["ids"].shape[-1])

        def step(carry, ids_B):
            part, state = carry
            gradient = jax.grad(error)(part, params, fit, ids_B)
            update, state = optimiser.update(gradient, state, part)
            return (optax.apply_updates(part, update), state), None

        def evaluate(carry, numbered):
            number, ids_SB = numbered
            (part, state), _ = jax.lax.scan(step, carry[0], ids_SB)
            now = {"part": part, "loss": val_error(part, params, fit), "step": number}
            better = now["loss"] < carry[1]["loss"]
            best = jax.tree.map(lambda a, b: jnp.where(better, a, b), now, carry[1])
            return ((part, state), best), None

        part = start(jax.random.key(fit["seed_M"]), width, problem.outputs)
        best = {"part": part, "loss": jnp.inf, "step": jnp.int32(0)}
        number = (jnp.arange(evaluations, dtype=jnp.int32) + 1) * ids.shape[1]
        carry = ((part, optimiser.init(part)), best)
        return jax.lax.scan(evaluate, carry, (number, ids))[0][1]

    return jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))


def _on_device(clips: Clips) -> Clips:
    return jax.tree.map(jnp.asarray, clips)


def _output(network, params, part, clips: Clips, w):
    return _outputs(network, params, part, clips, w[None])[0]


def _outputs(network, params, part, clips: Clips, ids_B):
    table = clips.windows
    feature_BTD = clips.frame_FD[table.frame_WT[ids_B]]
    return forward(network, params, part, feature_BTD, table.time_WT[ids_B], table.valid_WT[ids_B])


def _test(encoder: Encoder, clips: Clips, problem: Problem, m: int, part: dict) -> np.ndarray:
    """Outputs averaged over all dense windows, then decoded: [series, K]."""
    output_WK = all_outputs(encoder, clips, part)
    series = int(clips.windows.series_W.max()) + 1
    mean_NK = jnp.asarray(windows.mean(clips.windows, output_WK, series))
    decode = heads.decode(problem.kind, mean_NK, problem.centre_M[m], problem.spread_M[m])
    return np.asarray(decode)


def all_outputs(encoder: Encoder, clips: Clips, part: dict) -> np.ndarray:
    """Outputs of every window, [W, K]."""
    step = _compiled_outputs(encoder.network)
    ids_W = np.arange(len(clips.windows.series_W))
    clips = _on_device(clips)
    return np.asarray(step(encoder.params, part, clips, jnp.asarray(ids_W)))


@functools.cache
def _compiled_outputs(network):
    def run(params, part, clips, ids_W):
        output = functools.partial(_output, network, params, part, clips)
        return jax.lax.map(output, ids_W, batch_size=AT_ONCE)

    return jax.jit(run)
