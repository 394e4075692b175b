"""The whole network learns from labels: from a checkpoint, or from nothing (supervised)."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tvrl_jax.data.batch import Plan, read_batch
from tvrl_jax.data.clips import draw_clip
from tvrl_jax.errors import UserError
from tvrl_jax.probing import finetune_program, heads, passes, windows
from tvrl_jax.probing.features import DIVERGED, Encoder
from tvrl_jax.probing.finetune_program import Compiled, Network
from tvrl_jax.probing.problem import Prediction, Problem
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.windows import Windows
from tvrl_jax.report.progress import Progress

SHAPE = ("frames", "stride", "sampling")
# One window of a series, with all its frames.
WHOLE = dict(windows=1, interval="constant", views=1, drop=0.0, drop_spread=0.0)
SHOWN = ("fit", "val_loss")  # in the line of the progress


class Source(NamedTuple):
    """Where clips come from: the store, the series and windows of each split, the window shape."""

    store: Any
    series: dict[str, np.ndarray]
    windows: dict[str, Windows]
    settings: dict  # as from `features.window_settings`


class Job(NamedTuple):
    """Everything that the grid cells of one draw share."""

    compiled: Compiled
    source: Source  # with few validation windows
    problem: Problem
    m: int  # which draw of the problem
    rows_SB: np.ndarray  # training rows of each step
    evaluations: int
    progress: Progress


def fit(
    encoder: Encoder,
    source: Source,
    problem: Problem,
    *,
    augment: dict,
    learning_rates,
    weight_decays,
    warmup_fraction: float,
    clip_norm: float,
    val_windows: int,
    **steps,
) -> list[Prediction]:
    """One network per draw and grid cell, one after another, starting from `encoder`.

    AdamW with linear warm-up and cosine decay; clips are augmented mildly; the evaluation and the
    cell with the least validation loss are chosen. Outputs are averaged over the windows of a
    series: `val_windows` spread ones for validation, all dense ones for test.

    steps: epochs, batch_size, min_steps and evaluations, as in `passes.steps`.
    Raises UserError when the loss stops being finite, or never was.
    """
    compiled = finetune_program.compile_for(
        encoder, problem.kind, augment=augment, clip_norm=clip_norm
    )
    few = windows.spread(source.windows["val"], val_windows)
    cheap = source._replace(windows={**source.windows, "val": few})
    cells = list(itertools.product(learning_rates, weight_decays))
    rows = [_rows(draw, **steps) for draw in problem.draws]
    total = len(cells) * sum(map(len, rows))
    progress = Progress(total, clips=steps["batch_size"], shown=SHOWN)
    count = len(rows) * len(cells)
    progress.message(f"{count} network{'s' * (count > 1)} to train; the first step compiles")
    predictions, begun = [], 0
    for m, draw in enumerate(problem.draws):
        job = Job(compiled, cheap, problem, m, rows[m], steps["evaluations"], progress)
        fresh = functools.partial(
            finetune_program.start,
            encoder,
            outputs=problem.outputs,
            seed=draw.start,
            clip_norm=clip_norm,
        )
        runs = []
        for rate, decay in cells:
            rates = [_rate(rate, s, len(job.rows_SB), warmup_fraction) for s in _steps(job)]
            choice = {"learning_rate": rate, "weight_decay": decay}
            runs.append(_train(job, fresh, rates, choice, begun))
            begun += len(rates)
        best = min(runs, key=lambda run: run["loss"])
        output_NK = outputs(compiled, source, "test", best["network"], steps["batch_size"])
        test_NK = heads.decode(problem.kind, output_NK, problem.centre_M[m], problem.spread_M[m])
        predictions.append(Prediction(draw, test_NK, best["choice"]))
    progress.close()
    return predictions


def _rows(draw: Draw, *, batch_size: int, **steps) -> np.ndarray:
    count = passes.steps(int(draw.used_N.sum()), batch_size=batch_size, **steps)
    return passes.order(draw.used_N, steps=count, batch_size=batch_size, seed=draw.start)


def _steps(job: Job) -> range:
    return range(len(job.rows_SB))


def _rate(peak: float, step: int, steps: int, warmup_fraction: float) -> float:
    """Linear from 0 (excluded) to the peak, then half a cosine towards 0."""
    warmup = max(1, round(warmup_fraction * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _train(
    job: Job, fresh: Callable[[], Network], rates: list[float], choice: dict, begun: int
) -> dict:
    """The network with the least validation loss, that loss, and what was chosen.

    fresh: makes the network to begin with. begun: steps that fits before this one took, for the
    progress.
    """
    network = fresh()
    draw = job.problem.draws[job.m]
    key, rng = jax.random.key(draw.start), np.random.default_rng(draw.start)
    rate, decay = choice["learning_rate"], choice["weight_decay"]
    again = f" restart {draw.restart}" if draw.restart else ""
    title = (
        f"{draw.task.column}, {100 * draw.fraction:g} % of the labels, seed {draw.seed}{again}, "
        f"lr {rate:g}"
    )
    best = {"loss": math.inf}
    every = len(job.rows_SB) // job.evaluations
    for number in _steps(job):
        row_B = job.rows_SB[number]
        batch = _read(job.source, row_B, rng)
        batch["target_B"] = job.problem.target_MN[job.m][row_B]
        key_now = jax.random.fold_in(key, number)
        network, _ = job.compiled.step(network, batch, key_now, rates[number], decay)
        job.progress.update(begun + number + 1, None if number else {"fit": title})
        if (number + 1) % every == 0:
            loss = _validate(job, network)
            job.progress.update(begun + number + 1, {"fit": title, "val_loss": loss})
            if not math.isfinite(loss):
                job.progress.close()
                raise _not_finite(job, fresh(), f"{title}: the loss at step {number + 1}")
            if loss < best["loss"]:
                kept = jax.tree.map(jnp.array, network._replace(state=None))
                chosen = {**choice, "step": number + 1}
                best = {"loss": loss, "network": kept, "choice": chosen}
    return best


def _not_finite(job: Job, fresh: Network, what: str) -> UserError:
    """Whether it is this training that diverged, or the one before it, `fresh` can tell."""
    if math.isfinite(_validate(job, fresh)):
        remedy = "; lower finetune.learning_rates or set finetune.clip_norm."
    else:
        remedy = f", nor is that of the encoder as it was given: {DIVERGED}"
    return UserError(f"{what} is not finite{remedy}")


def _read(source: Source, row_B: np.ndarray, rng: np.random.Generator) -> dict:
    """One random window of each training series, with its pixels."""
    settings = {name: source.settings[name] for name in SHAPE}
    plans = []
    for i in source.series["train"][row_B]:
        total = source.store.series[i].frames
        drawn = draw_clip(rng, total, **settings, **WHOLE)
        plans.append(Plan(int(i), *drawn))
    return read_batch(source.store, plans, relative_time=source.settings["relative_time"])


def _validate(job: Job, network: Network) -> float:
    problem, m = job.problem, job.m
    output_JK = outputs(job.compiled, job.source, "val", network, job.rows_SB.shape[1])
    loss_J = heads.loss(problem.kind)(jnp.asarray(output_JK), jnp.asarray(problem.val_target_MJ[m]))
    return float(heads.mean(loss_J, problem.val_weight_MJ[m]))


def outputs(compiled, source: Source, split: str, network: Network, batch_size: int):
    """Outputs of every series of a split, averaged over its windows: [series, K]."""
    table, series = source.windows[split], source.series[split]
    parts = []
    for batch in windows.batches(source.store, series, table, batch_size=batch_size):
        arrays = (batch[k][:, 0] for k in ("clip_BVTHWC", "time_BVT", "valid_BVT"))
        out_BK = np.asarray(compiled.output(network.params, network.extra, *arrays))
        parts.append(out_BK[batch["weight_B"] > 0])
    return windows.mean(table, np.concatenate(parts), len(series)).astype(np.float32)
