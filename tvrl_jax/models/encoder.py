"""The two encoders: space-time factorised (E_S, then E_T), and joint over tubelets (VideoMAE)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tvrl_jax.errors import UserError
from tvrl_jax.models import layers, packing, spatiotemporal, stem, vit
from tvrl_jax.models.part import Part, apply, apply_given, pick, put
from tvrl_jax.models.sizes import DTYPES, SIZES, Settings, Size, check_divides, width

IN_SPATIAL = ("vit", "patches")  # where the stem lies in the spatial encoder


class BatchNorms(NamedTuple):
    """BatchNorm of a spatial encoder, for those who compute a batch in pieces.

    `given` are moments of the whole batch by layer ({} = none); layers that are not among them take
    those of the rows at hand. `clips` are clip_BTHWC, valid_BT and packed_GC of some rows.
    """

    names: tuple[str, ...]  # of the layers, each of which depends on those before it
    moments: Callable  # (params, extra, given, *clips) -> moments by layer
    spatial: (
        Callable  # (params, extra, given, *clips, key) -> (feature_BND, moments used), training
    )
    moved: Callable  # (extra, moments of the whole batch by layer) -> extra after the step


class Stack(NamedTuple):
    """An encoder: its parts, and its functions as in Network."""

    parts: list[Part]
    spatial: Callable
    norms: BatchNorms | None
    embed_time: Callable
    temporal: Callable
    keys: Callable
    encode: Callable | None  # joint only: (params, token_BKD, seen_BK, *, train, key) -> with CLS
    grid: tuple[int, int, int]
    width: int


def _vit(m: Settings, grid, patch, dropout: float) -> dict:
    """Fields of the ViT."""
    size: Size = SIZES[m.arch]
    return dict(
        **size._asdict(), grid=grid, stem=m.stem, patch=patch, dropout=dropout,
        drop_path=m.drop_path, remat=m.remat, dtype=DTYPES[m.dtype],
    )  # fmt: skip


def _standardise(clip, m: Settings):
    return (clip - m.input_mean) / m.input_std


def _check_clip(clip_BTHWC, m: Settings) -> None:
    wanted = (m.frames, m.image_size, m.image_size, m.channels)
    if clip_BTHWC.shape[1] > m.frames or clip_BTHWC.shape[2:] != wanted[1:]:
        raise UserError(
            f"A clip of {clip_BTHWC.shape[1:]} does not fit a model of {wanted} "
            "(frames, rows, columns, channels): check model.image_size and clips.frames."
        )


def frames_of(m: Settings, clip_BTHWC, valid_BT, packed_GC=None):
    """-> (frame_NHWC standardised, counted_N): those to be computed, and which have a say in
    BatchNorm's statistics (None = all)."""
    _check_clip(clip_BTHWC, m)
    frame_NHWC = _standardise(clip_BTHWC, m).reshape(-1, *clip_BTHWC.shape[2:])
    counted_N = valid_BT.reshape(-1)
    if packed_GC is not None:
        frame_NHWC = packing.gather(frame_NHWC, packed_GC)
        counted_N = packing.gather(counted_N, packed_GC) & (packed_GC.reshape(-1) >= 0)
    return frame_NHWC, None if m.batchnorm_padding else counted_N


def clips_of(feature_ND, rows_and_frames: tuple[int, int], packed_GC=None):
    """The features of `frames_of` where they belong, [B,T,D]."""
    if packed_GC is not None:
        feature_ND = packing.scatter(feature_ND, packed_GC, math.prod(rows_and_frames))
    return feature_ND.reshape(*rows_and_frames, -1)


def frame_keys(key, rows_and_frames: tuple[int, int], packed_GC=None):
    """Of the frames of `frames_of`, by their places in the batch; `key` as in models/build.py."""
    if key is None:
        return None
    rows, frames = rows_and_frames
    key_N = jax.vmap(layers.row_keys, (0, None))(layers.row_keys(key, rows), frames).reshape(-1)
    return key_N if packed_GC is None else packing.gather(key_N, packed_GC)


def _factorised_parts(m: Settings) -> tuple[Part, Part, Part]:
    """Per frame, its place in time, over time."""
    side, D, dtype = m.image_size // m.patch_size, width(m), DTYPES[m.dtype]
    fields = _vit(m, (1, side, side), (1, m.patch_size, m.patch_size), m.dropout)
    time, row = jnp.zeros((1, m.frames)), jnp.zeros((1, m.frames, D))
    frame = jnp.zeros((1, m.image_size, m.image_size, m.channels))
    embed = spatiotemporal.FrameEmbedding(D, m.frames, m.time_embedding, m.max_period, dtype)
    over_time = spatiotemporal.Temporal(
        D, m.temporal_depth, m.temporal_heads, m.drop_path, m.remat, dtype
    )
    return (
        Part(
            ("encoder", "spatial"),
            spatiotemporal.Projected(fields, D),
            (frame,),
            dict(train=False, key=None),
        ),
        Part(("encoder", "embed"), embed, (row, time), {}),
        Part(("encoder", "temporal"), over_time, (row, time), dict(causal=False, key=None)),
    )


def factorised(m: Settings) -> Stack:
    check_divides("model.temporal_heads", m.temporal_heads, "the temporal width", width(m))
    side = m.image_size // m.patch_size
    parts = per_frame, embedding, over_time = _factorised_parts(m)

    def spatial(params, extra, clip_BTHWC, valid_BT, packed_GC=None, *, train, key):
        arrays = frames_of(m, clip_BTHWC, valid_BT, packed_GC)
        key_N = frame_keys(key, valid_BT.shape, packed_GC) if train else None
        feature_ND, extra = apply(per_frame, params, extra, *arrays, train=train, key=key_N)
        return clips_of(feature_ND, valid_BT.shape, packed_GC), extra

    def embed_time(params, feature_BTD, time_BT):
        return apply(embedding, params, {}, feature_BTD, time_BT)[0]

    def temporal(params, x_BTD, key_mask_BT, *, train, key, causal=False, rows=None):
        key_B = layers.row_keys(key, len(x_BTD)) if train else None
        how = dict(causal=causal, key=key_B, rows=rows)
        out, _ = apply(over_time, params, {}, x_BTD, key_mask_BT, **how)
        return (None, out) if causal else (out[:, 0], out[:, 1:])

    def keys(valid_BT):
        return valid_BT

    grid = (m.frames, side, side)
    norms = batch_norms(m, per_frame) if m.stem == "conv" else None
    return Stack(list(parts), spatial, norms, embed_time, temporal, keys, None, grid, width(m))


def batch_norms(m: Settings, per_frame: Part) -> BatchNorms:
    """Those of the convolutional stem, whose moments are taken from it alone."""
    patch = (1, m.patch_size, m.patch_size)
    module = stem.ConvStem(SIZES[m.arch].width, patch, DTYPES[m.dtype])
    alone = Part((*per_frame.path, *IN_SPATIAL), module, (), {})

    def moments(params, extra, given, *clips):
        frame_NHWC, counted_N = frames_of(m, *clips)
        frame_N1HWC = frame_NHWC[:, None]
        return apply_given(alone, params, extra, given, frame_N1HWC, counted_N)[1]

    def spatial(params, extra, given, clip_BTHWC, valid_BT, packed_GC=None, *, key):
        arrays = frames_of(m, clip_BTHWC, valid_BT, packed_GC)
        given = put({}, IN_SPATIAL, given)
        key_N = frame_keys(key, valid_BT.shape, packed_GC)
        feature_ND, used = apply_given(per_frame, params, extra, given, *arrays, key=key_N)
        return clips_of(feature_ND, valid_BT.shape, packed_GC), pick(used, IN_SPATIAL)

    def moved(extra, used):
        kept = pick(extra, alone.path)
        return put(extra, alone.path, {n: layers.moved(kept[n], used[n]) for n in stem.NORMS})

    return BatchNorms(stem.NORMS, moments, spatial, moved)


def joint(m: Settings) -> Stack:
    if m.stem != "patch":
        raise UserError(f'model.stem = "{m.stem}": VideoMAE cuts tubelets, so say "patch".')
    check_divides("model.tubelet", m.tubelet, "clips.frames", m.frames)
    side, size = m.image_size // m.patch_size, SIZES[m.arch]
    grid = (m.frames // m.tubelet, side, side)
    module = vit.ViT(**_vit(m, grid, (m.tubelet, m.patch_size, m.patch_size), 0.0))
    clip = jnp.zeros((1, m.frames, m.image_size, m.image_size, m.channels))
    part = Part(("encoder", "vit"), module, (clip,), dict(train=False, key=None))

    def spatial(params, extra, clip_BTHWC, valid_BT, packed_GC=None, *, train, key):
        _check_clip(clip_BTHWC, m)
        # A tubelet may be of a real frame and a padded one: the padded half is the mean image.
        real = valid_BT[..., None, None, None].astype(bool)
        image = jnp.where(real, _standardise(clip_BTHWC, m), 0)
        return apply(part, params, extra, image, train=train, method="embed")

    def keys(valid_BT):
        tubelet_Bt = valid_BT.reshape(len(valid_BT), -1, m.tubelet).any(-1)
        return jnp.repeat(tubelet_Bt, side * side, axis=1)

    def encode(params, token_BND, mask_BN, *, train, key, rows=None):
        key_B = layers.row_keys(key, len(token_BND)) if train else None
        how = dict(key=key_B, rows=rows, method="encode")
        return apply(part, params, {}, token_BND, mask_BN, **how)[0]

    def temporal(params, x_BND, key_mask_BT, *, train, key, causal=False, rows=None):
        if causal:
            raise UserError("Causal prediction needs the factorised encoder, not VideoMAE's.")
        out = encode(params, x_BND, keys(key_mask_BT), train=train, key=key, rows=rows)
        return out[:, 0], out[:, 1:]

    def embed_time(params, feature_BND, time_BT):
        return feature_BND

    return Stack([part], spatial, None, embed_time, temporal, keys, encode, grid, size.width)
