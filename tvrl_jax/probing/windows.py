"""Every window of a list of series, as positions in the list of all their frames."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.augment.time import count_from
from tvrl_jax.data import clips
from tvrl_jax.data.batch import Batch, Plan, read_batch


class Windows(NamedTuple):
    """W windows of T frames. Padding has position 0 of its series, time 0, valid False."""

    series_W: np.ndarray  # int32, position in the list of series
    frame_WT: np.ndarray  # int32, position among the frames of all series, one after another
    time_WT: np.ndarray  # float32, data.time_unit, as in pretraining
    valid_WT: np.ndarray  # bool


def cut(
    store,
    series: Sequence[int],
    *,
    frames: int,
    stride: int,
    sampling: str,
    relative_time: bool,
    time_origin: str,
    every: int,
) -> Windows:
    """Every `every`-th dense window, in order; with sampling "newest" (visits) the newest one.

    `relative_time` and `time_origin` are those of config.clips and config.augment: an encoder that
    learned with times since the newest frame is shown such times.
    """
    shape = dict(frames=frames, stride=stride)
    parts, offset = [], 0
    for place, info in enumerate(store.series[i] for i in series):
        if sampling == "newest":
            one = clips.window(0, info.frames, **shape, sampling=sampling)
            index_NT, valid_NT = (a[None] for a in one)
        else:
            index_NT, valid_NT = clips.dense_windows(info.frames, **shape)
        index_NT, valid_NT = index_NT[::every], valid_NT[::every]
        time_NT = clips.clip_times(info.time_T, index_NT, valid_NT, relative=relative_time)
        series_N = np.full(len(index_NT), place, np.int32)
        parts.append((series_N, (index_NT + offset).astype(np.int32), time_NT, valid_NT))
        offset += info.frames
    table = Windows(*map(np.concatenate, zip(*parts, strict=True)))
    time_WT = count_from(table.time_WT, table.valid_WT, time_origin=time_origin)
    return table._replace(time_WT=np.asarray(time_WT))


def spread(windows: Windows, limit: int) -> Windows:
    """At most `limit` windows of each series, evenly spread."""
    _, first, count = np.unique(windows.series_W, return_index=True, return_counts=True)
    kept = [
        start + np.unique(np.linspace(0, n - 1, min(limit, n)).round().astype(int))
        for start, n in zip(first, count, strict=True)
    ]
    return Windows(*(a[np.concatenate(kept)] for a in windows))


def mean(windows: Windows, value_WK: np.ndarray, series: int) -> np.ndarray:
    """Mean over the windows of each series, [series, K]: how dense test windows are averaged."""
    total_NK = np.zeros((series, value_WK.shape[1]))
    np.add.at(total_NK, windows.series_W, value_WK)
    return total_NK / np.bincount(windows.series_W, minlength=series)[:, None]


def batches(store, series: Sequence[int], windows: Windows, *, batch_size: int) -> Iterator[Batch]:
    """The windows with their pixels, in order (V = 1); the last batch is filled with weight 0.

    Their times are those of the table, whatever they count from.
    """
    frames_N = np.array([store.series[i].frames for i in series])
    first_N = np.cumsum(frames_N) - frames_N
    local_W1T = (windows.frame_WT - first_N[windows.series_W][:, None])[:, None]
    oldest_W1 = local_W1T[:, :, 0]
    for start in range(0, len(local_W1T), batch_size):
        plans = [
            Plan(
                int(series[windows.series_W[w]]),
                local_W1T[w],
                windows.valid_WT[w][None],
                oldest_W1[w],
            )
            for w in range(start, min(start + batch_size, len(local_W1T)))
        ]
        batch = read_batch(store, plans, relative_time=True, batch_size=batch_size)
        row_B = np.minimum(start + np.arange(batch_size), len(local_W1T) - 1)
        yield batch | {"time_BVT": windows.time_WT[row_B][:, None]}
