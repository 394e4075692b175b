"""Features of a frozen encoder: eval mode, every frame once, then every window."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from tvrl_jax.errors import UserError
from tvrl_jax.models.build import Network
from tvrl_jax.probing import cache, frozen, windows
from tvrl_jax.probing.windows import Windows

VERSION = 2  # of what is computed here: part of the cache's key
DIVERGED = (
    "its pretraining has diverged. Take an earlier checkpoint (step), or pretrain anew with a "
    "lower optim.lr."
)


class Encoder(NamedTuple):
    """A network with its parameters and BatchNorm statistics, and how it was pretrained."""

    network: Network
    params: dict
    extra: dict
    config: Any  # the configuration of pretraining


class Features(NamedTuple):
    """N series with F frames in all, float32."""

    cls_ND: np.ndarray  # mean over windows of the temporal CLS
    token_ND: np.ndarray  # mean over windows of the mean frame token
    frame_FD: np.ndarray  # E_S of every frame, series after series; no rows for a joint encoder
    token_FD: np.ndarray  # E_T's row of every frame: mean over the windows that hold the frame
    held_F: np.ndarray  # bool: some window holds it; else its row is 0


def is_joint(encoder: Encoder) -> bool:
    """A joint encoder (VideoMAE) sees a whole clip at once and has no features of a frame."""
    return "temporal" not in encoder.params["encoder"]


def window_settings(config, features) -> dict:
    """Arguments of `windows.cut`: the clips of pretraining, and what config.features changes."""
    return dict(
        frames=config.clips.frames,
        stride=features.stride or config.clips.stride,
        sampling=features.sampling or config.clips.sampling,
        relative_time=config.clips.relative_time,
        time_origin=config.augment.time_origin,
        every=features.every,
    )


def compute(
    encoder: Encoder,
    store,
    series: Sequence[int],
    *,
    settings: dict,
    batch_size: int,
    folder: str,
    name: str = "",
    say: Callable[[str], None] = print,
) -> Features:
    """The features of the series, from the cache in `folder` where it has them.

    settings: as from `window_settings`. Neither parameters nor BatchNorm statistics change.
    """
    path = cache.place(
        folder,
        version=VERSION,
        encoder=cache.of_tree({"params": encoder.params["encoder"], "extra": encoder.extra}),
        cohort=cache.of_series(store, series),
        model=encoder.config.model.to_dict(),
        windows=settings,
    )

    def make():
        say(f"{name or 'features'}: {len(series)} series")
        return extract(encoder, store, series, settings, batch_size=batch_size, name=name)._asdict()

    # Again: what is in the cache may be of a version that did not look.
    return _finite(Features(**cache.read_or_make(path, make, say)))


@jax.default_matmul_precision("float32")
def extract(
    encoder: Encoder, store, series: Sequence[int], settings: dict, *, batch_size: int, name=""
) -> Features:
    """`compute` without a cache.

    A float32 encoder is computed in float32 also where accelerators would multiply at 8 to 11 bits:
    the features are the encoder's, whatever machine filled the cache.
    """
    frame_FD = np.zeros((0, encoder.network.width), np.float32)
    if not is_joint(encoder):
        frame_FD = frame_features(encoder, store, series, batch_size=batch_size, name=name)
    table = windows.cut(store, series, **settings)
    made = over_windows(encoder, store, series, table, frame_FD, batch_size=batch_size, name=name)
    parts, start = [], 0
    tokens = _no_tokens(sum(store.series[i].frames for i in series), encoder.network.width)
    for *means, token_BTD in made:
        _add(tokens, table, start, token_BTD)
        start += len(token_BTD)
        parts.append(means)
    return _finite(_average(table, parts, frame_FD, tokens, len(series)))


def _finite(found: Features) -> Features:
    """Raises UserError where an encoder has diverged: numbers made of its features say nothing."""
    fine_N = np.isfinite(found.cls_ND).all(1) & np.isfinite(found.token_ND).all(1)
    if fine_N.all():
        return found
    raise UserError(
        f"the encoder's features of {np.count_nonzero(~fine_N)} of {len(fine_N)} series are not "
        f"finite: {DIVERGED}"
    )


def over_windows(
    encoder: Encoder,
    store,
    series: Sequence[int],
    table: Windows,
    frame_FD: np.ndarray,
    *,
    batch_size: int,
    name: str = "",
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(cls_BD, mean token_BD, token_BTD) of the windows in order, batch after batch.

    A joint encoder reads the windows' pixels, since overlapping ones can share nothing; any other
    reads frame_FD, the features of all frames. Tokens of padding mean nothing.
    """
    walk = _clips if is_joint(encoder) else _rows
    size = batch_size if walk is _rows else max(1, batch_size // table.frame_WT.shape[1])
    total = -(-len(table.series_W) // size)
    made = walk(encoder, store, series, table, frame_FD, size)
    for out, count in _bar(made, f"{name} windows", total, unit="batch"):
        yield tuple(np.asarray(a)[:count] for a in out)


_bar = functools.partial(tqdm, leave=False, disable=None, delay=0.5)  # seconds


def _rows(encoder, store, series, table: Windows, frame_FD: np.ndarray, size: int) -> Iterator:
    step = frozen.temporal_step(encoder.network)
    for start in range(0, len(table.series_W), size):
        stop = min(start + size, len(table.series_W))
        batch = fill(np.arange(start, stop), size)
        arrays = (table.time_WT[batch], table.valid_WT[batch])
        yield step(encoder.params, frame_FD[table.frame_WT[batch]], *arrays), stop - start


def _clips(encoder, store, series, table: Windows, frame_FD: np.ndarray, size: int) -> Iterator:
    step = frozen.clip_step(encoder.network, encoder.config.model.image_size)
    for batch in windows.batches(store, series, table, batch_size=size):
        arrays = (batch[k][:, 0] for k in ("clip_BVTHWC", "time_BVT", "valid_BVT"))
        yield step(encoder.params, encoder.extra, *arrays), int((batch["weight_B"] > 0).sum())


class _Tokens(NamedTuple):
    """Sums over the windows that hold a frame: the tokens of all windows would not fit."""

    total_FD: np.ndarray
    count_F: np.ndarray


def _no_tokens(frames: int, width: int) -> _Tokens:
    return _Tokens(np.zeros((frames, width), np.float32), np.zeros(frames, np.float32))


def _add(tokens: _Tokens, table: Windows, start: int, token_BTD: np.ndarray) -> None:
    """In place, the tokens of the windows from `start` on."""
    rows = slice(start, start + len(token_BTD))
    valid_BT = table.valid_WT[rows]
    place_P = table.frame_WT[rows][valid_BT]
    np.add.at(tokens.total_FD, place_P, token_BTD[valid_BT])
    np.add.at(tokens.count_F, place_P, 1)


def _average(table: Windows, parts, frame_FD, tokens: _Tokens, count: int) -> Features:
    whole = map(np.concatenate, zip(*parts, strict=True))
    means = (windows.mean(table, a, count).astype(np.float32) for a in whole)
    token_FD = tokens.total_FD / np.maximum(tokens.count_F, 1)[:, None]
    return Features(*means, frame_FD, token_FD, tokens.count_F > 0)


def frame_features(
    encoder: Encoder, store, series: Sequence[int], *, batch_size: int, name: str = ""
) -> np.ndarray:
    """E_S of every frame of the series, one after another, [F, D] float32."""
    step = frozen.frame_step(encoder.network, encoder.config.model.image_size)
    total = sum(store.series[i].frames for i in series)
    parts = []
    with _bar(desc=f"{name} frames", total=total, unit="") as bar:
        for block_BHWC in frame_blocks(store, series, batch_size):
            count = len(block_BHWC)
            block_BHWC = block_BHWC[fill(np.arange(count), batch_size)]
            parts.append(np.asarray(step(encoder.params, encoder.extra, block_BHWC))[:count])
            bar.update(count)
    return np.concatenate(parts)


def frame_blocks(store, series: Sequence[int], size: int) -> Iterator[np.ndarray]:
    """All frames of the series, in blocks of `size` (the last one may be shorter)."""
    waiting, count = [], 0
    for i in series:
        frame_LHWC = np.asarray(store.frames(int(i), np.arange(store.series[i].frames)))
        waiting.append(frame_LHWC)
        count += len(frame_LHWC)
        while count >= size:
            joined = np.concatenate(waiting)
            yield joined[:size]
            waiting, count = [joined[size:]], count - size
    if count:
        yield np.concatenate(waiting)


def fill(index_B: np.ndarray, size: int) -> np.ndarray:
    """The last row again and again up to `size`, so that every batch has one shape."""
    return np.concatenate([index_B, np.full(size - len(index_B), index_B[-1])])
