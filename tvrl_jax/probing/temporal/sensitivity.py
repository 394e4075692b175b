"""What changes when the frames are put into another order, or their times are taken away."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import intervals, rows, windows
from tvrl_jax.probing.tasks import Task
from tvrl_jax.probing.temporal import changes, measured, reading
from tvrl_jax.probing.temporal.cosine import unit
from tvrl_jax.probing.temporal.measured import Measured
from tvrl_jax.probing.temporal.sight import Sight, over_time
from tvrl_jax.probing.windows import Windows


class Seen(NamedTuple):
    """CLS of the test windows as they are, and after each of `changes.CHANGES`; and the tokens that
    other measures read, so that no window is encoded twice."""

    table: Windows
    intact_WD: np.ndarray
    changed: dict[str, np.ndarray]
    token_WTD: np.ndarray  # intact
    untimed_WTD: np.ndarray  # times blank


def see(sight: Sight, table: Windows, *, scale: float, seed: int) -> Seen:
    def encode(what):
        return over_time(sight, changes.change(table, what, scale=scale, seed=seed))

    intact_WD, token_WTD = over_time(sight, table)
    blank_WD, untimed_WTD = encode("times blank")
    changed = {w: blank_WD if w == "times blank" else encode(w)[0] for w in changes.CHANGES}
    return Seen(table, intact_WD, changed, token_WTD, untimed_WTD)


def moves(seen: Seen, what: str, series: int) -> np.ndarray:
    """1 - cosine of CLS before and after, mean over a series' windows; [series].

    Windows of a single frame, which has no order and no interval, are left out: NaN without others.
    """
    moved_W = 1 - (unit(seen.intact_WD) * unit(seen.changed[what])).sum(1)
    several_W = seen.table.valid_WT.sum(1) > 1
    count_N = np.bincount(seen.table.series_W[several_W], minlength=series)
    total_N = np.bincount(seen.table.series_W[several_W], moved_W[several_W], series)
    return np.where(count_N > 0, total_N, np.nan) / np.maximum(count_N, 1)


def measure(seen: Seen, other_patients_N: np.ndarray, subject_N, **bootstrap) -> list[Measured]:
    """How far CLS moves, in units of the distance between patients.

    other_patients_N: mean cosine of a series with other patients' (see `cosine.Cosines`). 0: the
    change is not noticed; 1: it matters as much as exchanging the patient.
    """
    between_N = 1 - other_patients_N
    return [
        measured.ratio(
            what, "cls_change", moves(seen, what, len(subject_N)), between_N, subject_N, **bootstrap
        )
        for what in changes.CHANGES
    ]


def cost(
    seen: Seen, asked: Sequence[Task], series: dict, subject_N, cls: dict, strengths, **bootstrap
) -> list[Measured]:
    """Each task read from intact features, and what its metrics lose on changed test windows.

    series: split -> rows of the tasks' values; cls: split -> cls_ND, of which train and val are
    learned from. Rows: METRIC, and METRIC_drop_CHANGE = intact - changed on the same resampled
    patients.
    """
    if not asked:
        return []
    count, variants = len(series["test"]), {"": seen.intact_WD, **seen.changed}
    test_VND = [windows.mean(seen.table, cls_WD, count) for cls_WD in variants.values()]
    feature = {**cls, "test": np.concatenate(test_VND).astype(np.float32)}
    made = reading.predict(asked, series, feature, strengths)
    scores = {}
    for v, what in enumerate(variants):
        rows_N = slice(v * count, (v + 1) * count)
        own = [p._replace(test_NK=p.test_NK[rows_N]) for p in made]
        scores[what] = reading.score(own, series["test"], subject_N, **bootstrap)
    intact = scores.pop("")
    found = [measured.of_score(score) for score in intact]
    return found + [drop for what, of in scores.items() for drop in _drops(what, intact, of)]


def _drops(what: str, intact: Sequence[rows.Score], changed: Sequence[rows.Score]):
    for before, after in zip(intact, changed, strict=True):
        value = before.interval.value - after.interval.value
        pair = before.sample_R, after.sample_R
        gap = intervals.difference(value, *pair, smallest=rows.smallest(before, after))
        if before.patients < 2:  # each resample of one patient is this patient again
            gap = gap._replace(low=np.nan, high=np.nan)
        metric = f"{before.metric}_drop_{what.replace(' ', '_')}"
        yield Measured(before.task.column, metric, gap, before.patients)
