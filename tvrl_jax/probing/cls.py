"""The published probe: a new temporal CLS token learns with the head, through frozen blocks."""

import itertools

import jax
import numpy as np

from tvrl_jax.errors import UserError
from tvrl_jax.probing import cls_program, heads, passes, windows
from tvrl_jax.probing.cls_program import Clips
from tvrl_jax.probing.features import Encoder, is_joint
from tvrl_jax.probing.problem import Prediction, Problem
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.windows import Windows
from tvrl_jax.report.progress import Progress

# what one fit needs of a problem
PER_FIT = ("target_MN", "val_target_MJ", "val_weight_MJ", "seed_M")


def refuse_joint(encoder: Encoder) -> None:
    """Raises UserError for a joint encoder, which has no features of single frames to cache."""
    if is_joint(encoder):
        raise UserError(
            'config.kind = "cls" needs a temporal encoder over frames, and a VideoMAE encoder is '
            'joint; use kind "linear", "knn" or "finetune".'
        )


def fit(
    encoder: Encoder,
    clips: dict[str, Clips],
    problem: Problem,
    *,
    learning_rates,
    weight_decays,
    val_windows: int,
    chunk: int,
    **steps,
) -> list[Prediction]:
    """All draws x grid cells, `chunk` fits in one program; the least validation loss is chosen.

    Each step shows one random window of batch_size series (of all, where there are fewer). Only the
    temporal CLS and the head are trained, so that the frames' part of the last block is not
    computed. Validation averages the outputs of
    `val_windows` windows of a series, test those of all dense windows, before the softmax.

    steps: epochs, batch_size, min_steps and evaluations, as in `passes.steps`.
    """
    few = clips["val"]._replace(windows=windows.spread(clips["val"].windows, val_windows))
    train, val, test = jax.device_put((clips["train"], few, clips["test"]))
    series = int(clips["test"].windows.series_W.max()) + 1
    begin, advance = cls_program.trainer(encoder.network, problem.kind, problem.outputs)
    every = cls_program.all_outputs(encoder.network)

    def run(fits, rates, ids_MSB, tell):
        carry, number = begin(fits, rates), 0
        for ids_MsB in np.split(ids_MSB, steps["evaluations"], axis=1):
            number += ids_MsB.shape[1]
            given = (train, val, fits, rates, carry, ids_MsB, np.int32(number))
            carry = jax.block_until_ready(advance(encoder.params, *given))
            tell(number)
        return carry[1]

    made: dict[int, Prediction] = {}
    for fraction in dict.fromkeys(draw.fraction for draw in problem.draws):
        members = [m for m, draw in enumerate(problem.draws) if draw.fraction == fraction]
        ids = _ids(clips["train"].windows, problem, members, **steps)
        cells = list(itertools.product(members, learning_rates, weight_decays))
        fitted = _run(run, cells, problem, ids, chunk, f"cls, fraction {fraction:g}")
        for m in members:
            part, choice = _best(cells, fitted, m)
            output_WK = every(encoder.params, part, test)
            test_NK = _decode(problem, m, clips["test"].windows, output_WK, series)
            made[m] = Prediction(problem.draws[m], test_NK, choice)
    return [made[m] for m in range(len(problem.draws))]


def _best(cells: list[tuple], fitted: list[dict], m: int) -> tuple[dict, dict]:
    """The part with the least validation loss among a draw's grid cells, and what made it."""
    own = [(cell, best) for cell, best in zip(cells, fitted, strict=True) if cell[0] == m]
    (_, rate, decay), best = min(own, key=lambda pair: pair[1]["loss"])
    choice = {"learning_rate": rate, "weight_decay": decay, "step": int(best["step"])}
    return best["part"], choice


def _ids(table: Windows, problem: Problem, members, *, batch_size: int, **steps) -> dict:
    """draw -> the window shown at each step and row [steps, B]; one shape for all.

    Where fewer than batch_size series are in use, a step shows each of them once.
    """
    rows = max(int(problem.draws[m].used_N.sum()) for m in members)
    batch_size = min(batch_size, rows)
    count = passes.steps(rows, batch_size=batch_size, **steps)
    return {m: _shown(table, problem.draws[m], count, batch_size) for m in members}


def _shown(table: Windows, draw: Draw, steps: int, batch_size: int) -> np.ndarray:
    row = passes.order(draw.used_N, steps=steps, batch_size=batch_size, seed=draw.start)
    count_N = np.bincount(table.series_W, minlength=len(draw.used_N))
    first_N = np.cumsum(count_N) - count_N
    uniform = np.random.default_rng(draw.start + 1).random(row.shape)
    return (first_N[row] + (uniform * count_N[row]).astype(int)).astype(np.int32)


def _run(train, cells: list[tuple], problem: Problem, ids, chunk: int, title: str) -> list[dict]:
    """Every cell's best part, in chunks of one shape (the last one repeats its last cell)."""
    fitted = []
    size = min(chunk or len(cells), len(cells))
    steps, batch_size = next(iter(ids.values())).shape
    chunks = -(-len(cells) // size)
    progress = Progress(chunks * steps, clips=size * batch_size, shown=())
    progress.message(f"{title}: {len(cells)} fits, {size} at once; the first step compiles")
    for number, begin in enumerate(range(0, len(cells), size)):
        mine = cells[begin : begin + size]
        padded = mine + [mine[-1]] * (size - len(mine))
        member = np.array([cell[0] for cell in padded])
        given = {name: getattr(problem, name)[member] for name in PER_FIT}
        ids_MSB = np.stack([ids[m] for m in member])
        rates = np.array([cell[1:] for cell in padded], np.float32)
        done = number * steps
        best = jax.device_get(
            train(given, rates, ids_MSB, lambda step, done=done: progress.update(done + step, {}))
        )
        fitted += [jax.tree.map(lambda a, i=i: a[i], best) for i in range(len(mine))]
    progress.close()
    return fitted


def _decode(problem: Problem, m: int, table: Windows, output_WK, series: int) -> np.ndarray:
    """Outputs averaged over the windows of each series, then decoded: [series, K]."""
    mean_NK = windows.mean(table, np.asarray(output_WK), series)
    return heads.decode(problem.kind, mean_NK, problem.centre_M[m], problem.spread_M[m])
