"""Draws of equal shape, stacked so that one program fits them all."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from tvrl_jax.probing import tasks
from tvrl_jax.probing.sampling import Draw


class Problem(NamedTuple):
    """M draws of one kind and one number of outputs; N training, J validation series.

    Regression targets are standardised by the labels in use; missing labels are 0 with weight 0.
    """

    kind: str
    outputs: int
    draws: tuple[Draw, ...]
    target_MN: np.ndarray  # float32; [M, N, 2] for survival: event and duration
    weight_MN: np.ndarray  # float32, 1 = learn from it
    val_target_MJ: np.ndarray
    val_weight_MJ: np.ndarray
    centre_M: np.ndarray  # of the regression targets, in their unit; else 0
    spread_M: np.ndarray  # else 1
    seed_M: np.ndarray  # int32, of the start; see sampling.Draw.start


class Prediction(NamedTuple):
    draw: Draw
    # Every test series: class probabilities; the value in its unit [N, 1]; or the risk, a number
    # without unit, and survival at `survival.times` of the task's clock. What ranks series is
    # float64, in which a head that is sure has no ties.
    test_NK: np.ndarray
    choice: dict  # what validation chose: learning rate, weight decay, epoch, k ...


def group(draws: Sequence[Draw], series: dict[str, np.ndarray]) -> list[Problem]:
    """One problem per (kind, outputs); `series` are the series indices of train and val."""
    return [
        _stack(*key, [draw for draw in draws if _key(draw) == key], series)
        for key in dict.fromkeys(map(_key, draws))
    ]


def _key(draw: Draw) -> tuple[str, int]:
    return draw.task.kind, tasks.outputs(draw.task)


def _stack(kind: str, outputs: int, draws: list[Draw], series) -> Problem:
    train = [draw.task.value_N[series["train"]] for draw in draws]
    val_MJ = np.stack([draw.task.value_N[series["val"]] for draw in draws])
    scales = [scale(draw, value_N) for draw, value_N in zip(draws, train, strict=True)]
    centre_M, spread_M = np.asarray(scales, np.float32).T

    def standard(value_MN):
        column = (-1,) + (1,) * (value_MN.ndim - 1)
        return np.nan_to_num((value_MN - centre_M.reshape(column)) / spread_M.reshape(column))

    return Problem(
        kind=kind,
        outputs=outputs,
        draws=tuple(draws),
        target_MN=standard(np.stack(train)),
        weight_MN=np.stack([draw.used_N for draw in draws]).astype(np.float32),
        val_target_MJ=standard(val_MJ),
        val_weight_MJ=np.stack([tasks.labelled(v) for v in val_MJ]).astype(np.float32),
        centre_M=centre_M,
        spread_M=spread_M,
        seed_M=np.asarray([draw.start for draw in draws], np.int32),
    )


def once(fit: Callable, problem: Problem, draws: Any) -> Any:
    """`fit` of arrays that have the draws as their leading axis, as what it returns has.

    Without a random start the same rows teach the same: with all labels every seed, and at every
    fraction every restart. Each is fitted once (a single one twice), and what it gave is that of
    all alike. Only the fit: in how many draws a head is applied at once can be seen in the last
    bit of what it says.
    """
    first: dict[tuple, int] = {}
    alike_M = [
        first.setdefault((draw.task.column, draw.used_N.tobytes()), m)
        for m, draw in enumerate(problem.draws)
    ]
    own_U = np.array(list(first.values()))
    if len(own_U) < 2:  # a loop of one turn is compiled to other last bits than that of many
        own_U = np.arange(min(2, len(problem.draws)))
    place_M = np.searchsorted(own_U, alike_M)
    made = fit(jax.tree.map(lambda a: a[own_U], draws))
    return jax.tree.map(lambda a: a[place_M], made)


def stacked(made: Iterable) -> Any:
    """The named tuples of all draws as one, whose arrays have the draws as their leading axis."""
    made = list(made)
    return type(made[0])(*map(np.stack, zip(*made, strict=True)))


def scale(draw: Draw, value_N: np.ndarray) -> tuple[float, float]:
    """Of the labels in use; classes and times stay as they are."""
    return tasks.scale(value_N, draw.used_N) if draw.task.kind == "regression" else (0.0, 1.0)
