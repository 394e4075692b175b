"""How much time lies between two frames, read from their features."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import tasks
from tvrl_jax.probing.temporal import changes, measured, reading
from tvrl_jax.probing.temporal.measured import Measured
from tvrl_jax.probing.temporal.sight import Sight, over_time
from tvrl_jax.probing.windows import Windows
from tvrl_jax.results import ELAPSED_TASKS

(
    FRAMES,  # two frames, each seen alone
    TOKENS,  # what E_T makes of them: content, position and time
    UNTIMED,  # content and position
    POSITION,  # control: no image
    SHUFFLED,  # control: from frames, but the times of another pair
) = ELAPSED_TASKS


class Pairs(NamedTuple):
    """Two frames of one window, the earlier one first; P pairs."""

    window_P: np.ndarray
    first_P: np.ndarray  # places in the window
    second_P: np.ndarray
    elapsed_P: np.ndarray  # data.time_unit
    subject_P: np.ndarray


def draw(table: Windows, subject_N: np.ndarray, *, pairs: int, seed: int) -> Pairs:
    """At most `pairs` different pairs of frames of each series, drawn from its windows.

    Windows overlap: a pair that several of them hold counts once, from any one of them.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    ends = np.searchsorted(table.series_W, np.arange(len(subject_N) + 1))  # in order of the series
    for start, end in itertools.pairwise(ends):
        windows = start + rng.permutation(end - start)
        found = list({frames: at for w in windows for frames, at in _pairs(table, w)}.values())
        kept = rng.choice(len(found), min(pairs, len(found)), replace=False) if found else ()
        drawn += [found[k] for k in sorted(kept)]
    window_P, first_P, second_P = np.array(drawn, int).reshape(-1, 3).T
    time_WT, subject_W = table.time_WT, subject_N[table.series_W]
    elapsed_P = time_WT[window_P, second_P] - time_WT[window_P, first_P]
    return Pairs(window_P, first_P, second_P, elapsed_P, subject_W[window_P])


def _pairs(table: Windows, w: int) -> Iterator[tuple[tuple[int, int], tuple[int, int, int]]]:
    """Two frames of window w, and (w, place, place) where they stand."""
    frame_T = table.frame_WT[w].tolist()
    for a, b in itertools.combinations(range(table.valid_WT[w].sum()), 2):
        yield (frame_T[a], frame_T[b]), (w, a, b)


def join(pairs: Pairs, value_WTD: np.ndarray) -> np.ndarray:
    """[a, b, b - a] of what stands at the pairs' places, [P, 3 D]."""
    return _three(
        value_WTD[pairs.window_P, pairs.first_P], value_WTD[pairs.window_P, pairs.second_P]
    )


def _three(a_PD, b_PD) -> np.ndarray:
    return np.concatenate([a_PD, b_PD, b_PD - a_PD], axis=1).astype(np.float32)


def measure(
    sights: dict[str, Sight],
    tables: dict[str, Windows],
    strengths,
    *,
    known: dict[str, dict[str, np.ndarray]],
    pairs: int,
    seed: int,
    bootstrap: dict,
) -> list[Measured]:
    """R2 and MAE on test patients for each source of features; [] where a split has too few pairs.

    What the frames tell beyond the positions is change that was seen. What the tokens tell beyond
    the tokens without times is the time embedding, read back.

    known: split -> TOKENS or UNTIMED -> the token_WTD that others have computed already.
    """
    drawn = {
        split: draw(tables[split], sights[split].subject_N, pairs=pairs, seed=seed)
        for split in tasks.SPLITS
    }
    if any(len(np.unique(d.elapsed_P)) < 2 for d in drawn.values()):
        return []
    found = []
    for source in ELAPSED_TASKS:
        feature = {
            s: _feature(source, sights[s], tables[s], drawn[s], known.get(s, {}))
            for s in tasks.SPLITS
        }
        value = {s: _value(source, drawn[s], seed) for s in tasks.SPLITS}
        subject = {s: drawn[s].subject_P for s in tasks.SPLITS}
        scores = reading.read(source, value, subject, feature, strengths, **bootstrap)
        found += [measured.of_score(score) for score in scores]
    return found


def _feature(source: str, sight: Sight, table: Windows, pairs: Pairs, known: dict) -> np.ndarray:
    if source in known:
        return join(pairs, known[source])
    if source == POSITION:
        return _three(pairs.first_P[:, None], pairs.second_P[:, None])
    if source == TOKENS:
        return join(pairs, over_time(sight, table)[1])
    if source == UNTIMED:
        blank = changes.change(table, "times blank", scale=0.0, seed=0)
        return join(pairs, over_time(sight, blank)[1])
    frame_P2 = [table.frame_WT[pairs.window_P, p] for p in (pairs.first_P, pairs.second_P)]
    return _three(*(sight.frame_FD[frame_P] for frame_P in frame_P2))


def _value(source: str, pairs: Pairs, seed: int) -> np.ndarray:
    if source != SHUFFLED:
        return pairs.elapsed_P
    return np.random.default_rng(seed).permutation(pairs.elapsed_P)
