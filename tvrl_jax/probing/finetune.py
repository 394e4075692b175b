"""The whole network learns from labels: from a checkpoint, or from nothing (supervised)."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from tvrl_jax.augment import augment as augment_views
from tvrl_jax.augment import resize
from tvrl_jax.data.batch import Plan, read_batch
from tvrl_jax.data.clips import draw_clip
from tvrl_jax.errors import UserError
from tvrl_jax.probing import heads, passes, windows
from tvrl_jax.probing.features import Encoder
from tvrl_jax.probing.problem import Prediction, Problem
from tvrl_jax.probing.windows import Windows

SHAPE = ("frames", "stride", "sampling")


class Source(NamedTuple):
    """Where clips come from: the store, the series and windows of each split, the window shape."""

    store: Any
    series: dict[str, np.ndarray]
    windows: dict[str, Windows]
    settings: dict  # as from `features.window_settings`


class Network(NamedTuple):
    """What is trained: every array, in one pytree each."""

    params: dict  # {"network": ..., "head": ...}
    extra: dict  # BatchNorm statistics
    state: Any  # of the optimiser


class Compiled(NamedTuple):
    step: Callable
    output: Callable


def fit(
    encoder: Encoder,
    source: Source,
    problem: Problem,
    *,
    augment: dict,
    learning_rates,
    weight_decays,
    epochs: int,
    batch_size: int,
    min_steps: int,
    warmup_fraction: float,
    clip_norm: float,
    evaluations: int,
    val_windows: int,
) -> list[Prediction]:
    """One network per draw and grid cell, one after another, starting from `encoder`.

    AdamW with linear warm-up and cosine decay; clips are augmented mildly; the evaluation and the
    cell with the least validation loss are chosen. Outputs are averaged over the windows of a
    series: `val_windows` spread ones for validation, all dense ones for test.
    Raises UserError when the loss stops being finite.
    """
    compiled = compile_for(encoder, problem.kind, augment=augment, clip_norm=clip_norm)
    few = windows.spread(source.windows["val"], val_windows)
    validation = source._replace(windows={**source.windows, "val": few})
    predictions = []
    for m, draw in enumerate(problem.draws):
        count = passes.steps(
            int(draw.used_N.sum()),
            batch_size=batch_size,
            epochs=epochs,
            min_steps=min_steps,
            evaluations=evaluations,
        )
        rows = passes.order(draw.used_N, steps=count, batch_size=batch_size, seed=draw.seed)
        best = None
        for rate, decay in itertools.product(learning_rates, weight_decays):
            title = f"{draw.task.column} {draw.fraction:g} seed {draw.seed} lr {rate:g}"
            rates = [_rate(rate, s, count, warmup_fraction) for s in range(count)]
            run = _train(
                compiled, encoder, validation, problem, m, rows, rates, decay, evaluations, title
            )
            choice = {"learning_rate": rate, "weight_decay": decay, "step": run["step"]}
            if best is None or run["loss"] < best["loss"]:
                best = {**run, "choice": choice}
        output_NK = outputs(compiled, source, "test", best["network"], batch_size)
        decoded = heads.decode(problem.kind, output_NK, problem.centre_M[m], problem.spread_M[m])
        predictions.append(Prediction(draw, np.asarray(decoded), best["choice"]))
    return predictions


def _rate(peak: float, step: int, steps: int, warmup_fraction: float) -> float:
    """Linear from 0 (excluded) to the peak, then half a cosine towards 0."""
    warmup = max(1, round(warmup_fraction * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def start(encoder: Encoder, optimiser, width: int, outputs: int, seed: int) -> Network:
    params = {"network": encoder.params, "head": heads.init(jax.random.key(seed), width, outputs)}
    params = jax.tree.map(jnp.array, params)  # copies: the steps give their arrays away
    return Network(params, jax.tree.map(jnp.array, encoder.extra), optimiser.init(params))


def compile_for(encoder: Encoder, kind: str, *, augment: dict, clip_norm: float) -> Compiled:
    """The training step (network, batch, key, rate, decay) and the outputs of windows."""
    size = encoder.config.model.image_size
    loss, optimiser = heads.loss(kind), _optimiser(clip_norm)

    def step(network: Network, batch, key, rate, decay):
        of_clip, of_dropout = jax.random.split(key)
        arrays = (batch[k] for k in ("clip_BVTHWC", "time_BVT", "valid_BVT"))
        clip, time, valid = augment_views(of_clip, *arrays, views=1, size=size, **augment)
        views = (clip[:, 0], time[:, 0], valid[:, 0])

        def error(params):
            out = forward(encoder.network, params, network.extra, *views, key=of_dropout)
            return heads.mean(loss(out[0], batch["target_B"]), batch["weight_B"]), out[1]

        (value, extra), gradient = jax.value_and_grad(error, has_aux=True)(network.params)
        update, state = optimiser.update(gradient, network.state, network.params)
        move = lambda p, u: p - rate * (u + decay * p)  # noqa: E731  AdamW
        return Network(jax.tree.map(move, network.params, update), extra, state), value

    def output(params, extra, clip_BTHWC, time_BT, valid_BT):
        views = (resize(clip_BTHWC, size), time_BT, valid_BT)
        return forward(encoder.network, params, extra, *views, key=None)[0]

    return Compiled(jax.jit(step, donate_argnums=0), jax.jit(output))


def _optimiser(clip_norm: float) -> optax.GradientTransformation:
    """Adam without its rate, which changes from step to step and must not recompile the step.

    On one flat vector: a program of few large operations compiles in half the time.
    """
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    return optax.flatten(optax.chain(clip, optax.scale_by_adam()))


def forward(network, params, extra, clip_BTHWC, time_BT, valid_BT, *, key):
    """Outputs [B, K] and BatchNorm statistics; a key means training, None eval mode."""
    train = key is not None
    of_space, of_time = jax.random.split(key) if train else (None, None)
    x_BND, extra = network.spatial(
        params["network"], extra, clip_BTHWC, valid_BT, train=train, key=of_space
    )
    x_BND = network.embed_time(params["network"], x_BND, time_BT)
    cls_BD, _ = network.temporal(params["network"], x_BND, valid_BT, train=train, key=of_time)
    return heads.apply(params["head"], cls_BD), extra


def _train(compiled, encoder, source, problem, m, rows, rates, decay, evaluations, title) -> dict:
    """The network with the least validation loss, that loss and its step."""
    draw = problem.draws[m]
    network = start(encoder, _optimiser(1.0), encoder.network.width, problem.outputs, draw.seed)
    key, rng = jax.random.key(draw.seed), np.random.default_rng(draw.seed)
    best = {"loss": math.inf, "step": 0, "network": None}
    every = len(rows) // evaluations
    for number in tqdm(range(len(rows)), title, unit="step", leave=False, disable=None):
        batch = _read(source, rows[number], rng)
        batch["target_B"] = problem.target_MN[m][rows[number]]
        key_now = jax.random.fold_in(key, number)
        network, _ = compiled.step(network, batch, key_now, rates[number], decay)
        if (number + 1) % every == 0:
            loss = _validate(compiled, source, problem, m, network, len(rows[0]))
            if not math.isfinite(loss):
                raise UserError(
                    f"{title}: the loss is not finite at step {number + 1}; "
                    "lower finetune.learning_rates or set finetune.clip_norm."
                )
            if loss < best["loss"]:
                kept = jax.tree.map(jnp.array, network._replace(state=None))
                best = {"loss": loss, "step": number + 1, "network": kept}
    return best


def _read(source: Source, row_B: np.ndarray, rng: np.random.Generator) -> dict:
    """One random window of each training series, with its pixels."""
    settings = {name: source.settings[name] for name in SHAPE}
    plans = []
    for i in source.series["train"][row_B]:
        total = source.store.series[i].frames
        drawn = draw_clip(rng, total, **settings, windows=1, interval="constant")
        plans.append(Plan(int(i), *drawn))
    return read_batch(source.store, plans, relative_time=source.settings["relative_time"])


def _validate(compiled, source, problem: Problem, m: int, network: Network, size: int) -> float:
    output_JK = jnp.asarray(outputs(compiled, source, "val", network, size))
    loss_J = heads.loss(problem.kind)(output_JK, jnp.asarray(problem.val_target_MJ[m]))
    return float(heads.mean(loss_J, problem.val_weight_MJ[m]))


def outputs(compiled, source: Source, split: str, network: Network, batch_size: int):
    """Outputs of every series of a split, averaged over its windows: [series, K]."""
    table, series = source.windows[split], source.series[split]
    parts = []
    for batch in windows.batches(
        source.store,
        series,
        table,
        batch_size=batch_size,
        relative_time=source.settings["relative_time"],
    ):
        arrays = (batch[k][:, 0] for k in ("clip_BVTHWC", "time_BVT", "valid_BVT"))
        out_BK = np.asarray(compiled.output(network.params, network.extra, *arrays))
        parts.append(out_BK[batch["weight_B"] > 0])
    return windows.mean(table, np.concatenate(parts), len(series)).astype(np.float32)
