"""Which frames a clip takes from its series: positions, padding and times.

Everything here is numpy on a handful of integers. `total` is the number of frames of the series,
`frames` those of a clip, `stride` the step between neighbours of a clip. A clip is a pair

    index_T  positions in the series, in time order (0 where there is padding)
    valid_T  False for padding, which always stands at the right

Windows are counted by an offset: from the oldest frame, or, with sampling "newest", backwards from
the newest, so that the newest frame always is in the window of offset 0. A window's anchor is the
frame that its offset names: its oldest, or its newest. Different windows have different anchors,
which cannot be said of their other end: a short series may end within all of them.

A view may lack frames of its window (`drop`). Those that are left move together, so that their
places tell neither how many there were nor which are gone.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from tvrl_jax.errors import UserError, nearest

SAMPLINGS = ("random", "newest")

# Weight of an interval d out of 0..m; the published names and shapes.
DENSITIES: dict[str, Callable] = {
    "linear_increase": lambda d, m: d,
    "quadratic_increase": lambda d, m: d**2,
    "linear_decrease": lambda d, m: m - d,
    "quadratic_decrease": lambda d, m: m**2 - d**2,
    "root_decrease": lambda d, m: np.sqrt(m) - np.sqrt(d),
    "constant": lambda d, m: np.ones_like(d),
}


def check(
    *,
    frames: int,
    stride: int,
    sampling: str,
    windows: int,
    interval: str,
    drop: float,
    drop_spread: float,
) -> None:
    """Raises UserError for a value of config.clips that names nothing."""
    for name, value in (("frames", frames), ("stride", stride)):
        if value < 1:
            raise UserError(f"clips.{name} = {value}: it must be 1 or more.")
    if windows not in (1, 2):
        raise UserError(f"clips.windows = {windows}: it must be 1 or 2.")
    if not 0 <= drop <= 1:
        raise UserError(f"clips.drop = {drop}: it must be between 0 and 1.")
    if not 0 <= drop_spread <= min(drop, 1 - drop):
        raise UserError(
            f"clips.drop_spread = {drop_spread}: with clips.drop = {drop} it must be between 0 and "
            f"{min(drop, 1 - drop):g}."
        )
    for name, value, known in (
        ("sampling", sampling, SAMPLINGS),
        ("interval", interval, DENSITIES),
    ):
        if value not in known:
            raise UserError(f'clips.{name} = "{value}" is unknown.{nearest(value, known)}')


def count_starts(total: int, *, frames: int, stride: int) -> int:
    """Starts 0 .. total - frames * stride; a shorter series has one, 0."""
    return max(0, total - frames * stride) + 1


def window(
    offset: int, total: int, *, frames: int, stride: int, sampling: str
) -> tuple[np.ndarray, np.ndarray]:
    """The clip at an offset -> index_T, valid_T. A series that ends inside it is padded."""
    kept = min(frames, (total - 1 - offset) // stride + 1)
    first = offset if sampling == "random" else total - 1 - offset - (kept - 1) * stride
    place_T = np.arange(frames)
    valid_T = place_T < kept
    return np.where(valid_T, first + stride * place_T, 0), valid_T


def random_start(rng: np.random.Generator, total: int, *, frames: int, stride: int) -> int:
    """Uniform over every possible start."""
    return int(rng.integers(count_starts(total, frames=frames, stride=stride)))


def dense_windows(total: int, *, frames: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The window at every start, in order -> index_NT, valid_NT."""
    count = count_starts(total, frames=frames, stride=stride)
    cut = [
        window(start, total, frames=frames, stride=stride, sampling="random")
        for start in range(count)
    ]
    index, valid = zip(*cut, strict=True)
    return np.stack(index), np.stack(valid)


def interval_density(name: str, count: int) -> np.ndarray:
    """Probabilities of the intervals 0 .. count - 1, as published (a lone one: 1)."""
    weight = DENSITIES[name](np.arange(count, dtype=np.float64), count - 1.0)
    return weight / weight.sum() if weight.sum() > 0 else np.full(count, 1 / count)


@cache
def gap_density(name: str, largest: int) -> np.ndarray:
    """Probabilities of the gaps 1 .. largest between two different windows' starts.

    The published density over 0 .. largest + 1, restricted to the gaps that are possible. The
    decreasing ones are zero only at the first impossible gap, so every possible gap can occur.
    """
    density = interval_density(name, largest + 2)[1:-1]
    return density / density.sum()


def count_offsets(total: int, *, frames: int, stride: int) -> int:
    """Offsets that two different windows are drawn from: 2 or more, unless total is 1.

    The possible starts; where there is only one, every offset of a full clip; where there is only
    one still, every offset whose window holds at least half of the frames that the longest holds.
    """
    full = total - (frames - 1) * stride
    regular = count_starts(total, frames=frames, stride=stride)
    if max(regular, full) > 1:
        return regular if regular > 1 else full
    longest = min(frames, -(-total // stride))
    return total - (-(-longest // 2) - 1) * stride


def pair_offsets(
    rng: np.random.Generator,
    total: int,
    *,
    frames: int,
    stride: int,
    sampling: str,
    interval: str,
) -> tuple[int, int]:
    """Offsets of two different windows whose gap follows the density named `interval`.

    "random": the earlier one uniform over what the gap leaves, in random order. "newest": the
    first is the newest window. A series of one frame gives the same window twice.
    """
    largest = count_offsets(total, frames=frames, stride=stride) - 1
    if largest == 0:
        return 0, 0
    gap = 1 + _draw(rng, gap_density(interval, largest))
    if sampling == "newest":
        return 0, gap
    early = int(rng.integers(largest - gap + 1))
    return (early, early + gap) if rng.random() < 0.5 else (early + gap, early)


def _draw(rng: np.random.Generator, probability: np.ndarray) -> int:
    # Generator.choice checks its arguments for 20 us; a clip is cut in less.
    place = np.searchsorted(np.cumsum(probability), rng.random(), side="right")
    return min(int(place), len(probability) - 1)


def draw_clip(
    rng: np.random.Generator,
    total: int,
    *,
    frames: int,
    stride: int,
    sampling: str,
    windows: int,
    interval: str,
    views: int,
    drop: float,
    drop_spread: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One or two windows of a series, as config.clips says -> index_VT, valid_VT, anchor_V.

    With `drop` each of the `views` has its own frames of its window, perhaps without the anchor.
    anchor_V: positions in the series.
    """
    shape = dict(frames=frames, stride=stride)
    if windows == 2:
        offsets = pair_offsets(rng, total, **shape, sampling=sampling, interval=interval)
    else:
        offsets = (0 if sampling == "newest" else random_start(rng, total, **shape),)
    index, valid = zip(
        *(window(o, total, **shape, sampling=sampling) for o in offsets), strict=True
    )
    index_VT, valid_VT = np.stack(index), np.stack(valid)
    anchor_V = np.array(offsets)
    if sampling == "newest":
        anchor_V = total - 1 - anchor_V
    if not drop:
        return index_VT, valid_VT, anchor_V
    seen = drop_frames(rng, index_VT, valid_VT, views=views, drop=drop, spread=drop_spread)
    return *seen, np.broadcast_to(anchor_V, views)


def drop_frames(
    rng: np.random.Generator,
    index_VT: np.ndarray,
    valid_VT: np.ndarray,
    *,
    views: int,
    drop: float,
    spread: float,
) -> tuple[np.ndarray, np.ndarray]:
    """What `views` see of their windows, or of one, when each frame but the newest goes with
    probability `drop`, or each view's own, uniform in drop -+ spread -> index_VT, valid_VT of the
    views, padded at the right."""
    u_VT = rng.random((views, valid_VT.shape[1]))
    if spread:
        drop = drop + spread * (2 * rng.random((views, 1)) - 1)
    newest_VT = valid_VT & ~np.pad(valid_VT[:, 1:], ((0, 0), (0, 1)))
    left_VT = valid_VT & (newest_VT | (u_VT >= drop))
    order_VT = np.argsort(~left_VT, axis=1, kind="stable")
    index_VT, left_VT = (
        np.take_along_axis(np.broadcast_to(x_VT, u_VT.shape), order_VT, axis=1)
        for x_VT in (index_VT, left_VT)
    )
    return np.where(left_VT, index_VT, 0), left_VT


def clip_times(
    time_S: np.ndarray, index_VT: np.ndarray, valid_VT: np.ndarray, *, relative: bool
) -> np.ndarray:
    """Times of a clip's frames, time_VT float32, in the unit of time_S (the whole series').

    They count from the first frame of the series, or of their window when `relative`.
    """
    time_VT = since_first(time_S, index_VT)
    if relative:
        time_VT = time_VT - time_VT[:, :1]
    return np.where(valid_VT, time_VT, 0).astype(np.float32)


def since_first(time_S: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Times of frames since the first of their series, float64, of index's shape.

    To be subtracted before they become float32: a date in seconds would not survive it.
    """
    return np.asarray(time_S, np.float64)[index] - time_S[0]
