"""What an encoder makes of windows, whichever frames and times stand in them."""

from typing import Any, NamedTuple

import numpy as np

from tvrl_jax.probing import cache, features, frozen
from tvrl_jax.probing.features import Encoder
from tvrl_jax.probing.windows import Windows

VERSION = 1  # of what is cached here


class Sight(NamedTuple):
    """One encoder before one list of series, N series with F frames in all."""

    encoder: Encoder
    store: Any
    series: np.ndarray
    subject_N: np.ndarray
    frame_FD: np.ndarray  # of each frame alone, blind to time: E_S, or a joint encoder's still clip
    cls_ND: np.ndarray  # mean over all windows, as every other probe sees it
    batch_size: int  # frames or windows at once


def look(
    encoder: Encoder, store, series, *, settings: dict, batch_size: int, folder: str, name: str, say
) -> Sight:
    """Features from the cache in `folder` where it has them; settings as `window_settings`."""
    kept = dict(batch_size=batch_size, folder=folder, say=say)
    found = features.compute(encoder, store, series, settings=settings, name=name, **kept)
    frame_FD = found.frame_FD
    if features.is_joint(encoder):
        frame_FD = _still(encoder, store, series, settings["frames"], **kept)
    subject_N = np.asarray(store.subject_index)[series]
    return Sight(encoder, store, series, subject_N, frame_FD, found.cls_ND, batch_size)


def over_time(sight: Sight, table: Windows) -> tuple[np.ndarray, np.ndarray]:
    """(cls_WD, token_WTD) of the windows, their frames in the order and at the times given.

    Tokens of padding mean nothing. A joint encoder knows no times; its token of a frame is the
    mean over the patches of the frame's tubelet.
    """
    made = features.over_windows(
        sight.encoder, sight.store, sight.series, table, sight.frame_FD, batch_size=sight.batch_size
    )
    cls, _, token = zip(*made, strict=True)
    return np.concatenate(cls), np.concatenate(token)


def _still(encoder: Encoder, store, series, frames: int, *, batch_size: int, folder: str, say):
    """CLS of each frame as a clip in which it stands still, [F, D]."""
    path = cache.place(
        folder,
        version=VERSION,
        kind="still",
        encoder=cache.of_tree({"params": encoder.params["encoder"], "extra": encoder.extra}),
        cohort=cache.of_series(store, series),
        model=encoder.config.model.to_dict(),
        frames=frames,
    )
    step = frozen.clip_step(encoder.network, encoder.config.model.image_size)
    size = max(1, batch_size // frames)

    def make():
        parts = []
        for block_BHWC in features.frame_blocks(store, series, size):
            count = len(block_BHWC)
            block_BHWC = block_BHWC[features.fill(np.arange(count), size)]
            clip_BTHWC = np.repeat(block_BHWC[:, None], frames, axis=1)
            valid_BT = np.ones(clip_BTHWC.shape[:2], bool)
            time_BT = np.zeros(valid_BT.shape, np.float32)  # a joint encoder is told none
            cls_BD, *_ = step(encoder.params, encoder.extra, clip_BTHWC, time_BT, valid_BT)
            parts.append(np.asarray(cls_BD)[:count])
        return {"frame_FD": np.concatenate(parts)}

    return cache.read_or_make(path, make, say)["frame_FD"]
