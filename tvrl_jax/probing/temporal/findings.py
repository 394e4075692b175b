"""The numbers by which the alarms about a finished encoder are raised."""

from typing import NamedTuple

import numpy as np

from tvrl_jax import metrics
from tvrl_jax.probing.temporal import elapsed, measured
from tvrl_jax.probing.temporal.pretext import Retrieval, Target
from tvrl_jax.results import FEW


class Findings(NamedTuple):
    rank: float  # effective rank of the centred test features
    spread: float  # their deviation between series / their length
    dtype: str  # of the encoder's computation, by whose rounding they differ in any case
    retrieval: Retrieval | None  # None = the method compares no views
    target: Target | None  # None = the method has no latent target
    embeds_time: bool
    blank: float | None  # how far CLS moves without times / between patients; None = unknown
    scaled: float | None  # the same with times scaled
    gain: float | None  # R2 of elapsed time: tokens - tokens without times


def spread(cls_ND: np.ndarray) -> tuple[float, float]:
    """(effective rank of the centred features, root mean square distance from the mean / length).

    Both are 0 where all series look the same. Of one series both are NaN, and of fewer than FEW the
    rank, which is low however they look.
    """
    if len(cls_ND) < 2:
        return np.nan, np.nan
    cls_ND = np.asarray(cls_ND, np.float64)
    centred_ND = cls_ND - cls_ND.mean(0)
    size = float(np.sqrt((cls_ND**2).sum(1).mean()))
    away = float(np.sqrt((centred_ND**2).sum(1).mean()))
    if away <= 1e-6 * size:
        return 0.0, 0.0
    if len(cls_ND) < FEW:
        return np.nan, away / size
    return float(metrics.effective_rank(centred_ND / away)), away / size


def gather(found, cls_ND, model, embeds_time: bool, retrieval, target) -> Findings:
    """`found`: the measures of the pretrained encoder; model: its section of the configuration."""
    tokens = measured.find(found, elapsed.TOKENS, "r2")
    untimed = measured.find(found, elapsed.UNTIMED, "r2")
    gain = None if tokens is None or untimed is None else tokens - untimed
    moves = [measured.find(found, what, "cls_change") for what in ("times blank", "times scaled")]
    return Findings(*spread(cls_ND), model.dtype, retrieval, target, embeds_time, *moves, gain)
