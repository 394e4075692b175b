"""The two encoders: space-time factorised (E_S, then E_T), and joint over tubelets (VideoMAE)."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from tvrl_jax.errors import UserError
from tvrl_jax.models import packing, spatiotemporal, vit
from tvrl_jax.models.part import Part, apply
from tvrl_jax.models.sizes import DTYPES, SIZES, Settings, Size, check_divides, width


class Stack(NamedTuple):
    """An encoder: its parts, and its functions as in Network."""

    parts: list[Part]
    spatial: Callable
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
    side = m.image_size // m.patch_size
    parts = per_frame, embedding, over_time = _factorised_parts(m)

    def encode_frames(params, extra, frame_NHWC, counted_N, *, train, key):
        counted_N = None if m.batchnorm_padding else counted_N
        key = key if train else None
        return apply(per_frame, params, extra, frame_NHWC, counted_N, train=train, key=key)

    def spatial(params, extra, clip_BTHWC, valid_BT, packed_GC=None, *, train, key):
        _check_clip(clip_BTHWC, m)
        B, T = clip_BTHWC.shape[:2]
        frame_NHWC = _standardise(clip_BTHWC, m).reshape(B * T, *clip_BTHWC.shape[2:])
        counted_N = valid_BT.reshape(-1)
        if packed_GC is not None:
            frame_NHWC = packing.gather(frame_NHWC, packed_GC)
            counted_N = packing.gather(counted_N, packed_GC) & (packed_GC.reshape(-1) >= 0)
        feature_ND, extra = encode_frames(
            params, extra, frame_NHWC, counted_N, train=train, key=key
        )
        if packed_GC is not None:
            feature_ND = packing.scatter(feature_ND, packed_GC, B * T)
        return feature_ND.reshape(B, T, -1), extra

    def embed_time(params, feature_BTD, time_BT):
        return apply(embedding, params, {}, feature_BTD, time_BT)[0]

    def temporal(params, x_BTD, key_mask_BT, *, train, key, causal=False):
        key = key if train else None
        out, _ = apply(over_time, params, {}, x_BTD, key_mask_BT, causal=causal, key=key)
        return (None, out) if causal else (out[:, 0], out[:, 1:])

    def keys(valid_BT):
        return valid_BT

    grid = (m.frames, side, side)
    return Stack(list(parts), spatial, embed_time, temporal, keys, None, grid, width(m))


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
        return apply(part, params, extra, _standardise(clip_BTHWC, m), train=train, method="embed")

    def keys(valid_BT):
        tubelet_Bt = valid_BT.reshape(len(valid_BT), -1, m.tubelet).any(-1)
        return jnp.repeat(tubelet_Bt, side * side, axis=1)

    def encode(params, token_BND, mask_BN, *, train, key):
        key = key if train else None
        return apply(part, params, {}, token_BND, mask_BN, key=key, method="encode")[0]

    def temporal(params, x_BND, key_mask_BT, *, train, key, causal=False):
        if causal:
            raise UserError("Causal prediction needs the factorised encoder, not VideoMAE's.")
        out = encode(params, x_BND, keys(key_mask_BT), train=train, key=key)
        return out[:, 0], out[:, 1:]

    def embed_time(params, feature_BND, time_BT):
        return feature_BND

    return Stack([part], spatial, embed_time, temporal, keys, encode, grid, size.width)
