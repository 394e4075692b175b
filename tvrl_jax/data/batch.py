"""Rows of a batch: what each will hold, and reading it from the store.

A batch is a dict of numpy arrays:

    clip_BVTHWC uint8   time_BVT float32 (data.time_unit)   valid_BVT bool   anchor_BV float32
    subject_B, series_B int32 (into store.subjects, store.series)   weight_B float32
    target_BK float32, NaN where unknown, when targets are given

and, when frames are packed, packed_GVC int32 (data/packing.py), G devices of this process

V is clips.windows, or the objective's views where clips.drop leaves each its own frames. Padding
(right): image 0, time 0, valid False. `anchor_BV` is the time of a window's anchor (data/clips.py)
since the first frame of its series.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.data import clips as cut

Batch = dict[str, np.ndarray]


class Plan(NamedTuple):
    """What a row of a batch will hold; drawing it reads no frame."""

    series: int
    index_VT: np.ndarray
    valid_VT: np.ndarray
    anchor_V: np.ndarray


def read_batch(
    store,
    plans: Sequence[Plan],
    *,
    relative_time: bool,
    targets: np.ndarray | None = None,
    batch_size: int = 0,
) -> Batch:
    """Reads what was planned; up to `batch_size` rows, the last one is repeated with weight 0."""
    real = len(plans)
    plans = [*plans, *[plans[-1]] * (batch_size - real)]
    series_B = np.array([plan.series for plan in plans], np.int32)
    times, anchors = [], []
    for i, index_VT, valid_VT, anchor_V in plans:
        time_S = store.series[i].time_T
        times.append(cut.clip_times(time_S, index_VT, valid_VT, relative=relative_time))
        anchors.append(cut.since_first(time_S, anchor_V))
    batch = {
        "clip_BVTHWC": _read_clips(store, plans),
        "time_BVT": np.stack(times),
        "valid_BVT": np.stack([plan.valid_VT for plan in plans]),
        "anchor_BV": np.stack(anchors).astype(np.float32),
        "subject_B": np.asarray(store.subject_index)[series_B].astype(np.int32),
        "series_B": series_B,
        "weight_B": (np.arange(len(plans)) < real).astype(np.float32),
    }
    if targets is not None:
        batch["target_BK"] = np.asarray(targets, np.float32)[series_B]
    return batch


def _read_clips(store, plans: Sequence[Plan]) -> np.ndarray:
    """clip_BVTHWC, each frame copied straight to its place."""
    frame = (store.image_size, store.image_size, store.channels)
    clip_BVTHWC = np.empty((len(plans), *plans[0].index_VT.shape, *frame), np.uint8)
    for clip_VTHWC, plan in zip(clip_BVTHWC, plans, strict=True):
        for clip_THWC, index_T, valid_T in zip(
            clip_VTHWC, plan.index_VT, plan.valid_VT, strict=True
        ):
            kept = np.count_nonzero(valid_T)
            clip_THWC[:kept] = store.frames(plan.series, index_T[:kept])
            clip_THWC[kept:] = 0
    return clip_BVTHWC
