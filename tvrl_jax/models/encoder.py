"""The two encoders: space-time factorised (E_S, then E_T), and joint over tubelets (VideoMAE)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from tvrl_jax.errors import UserError, nearest
from tvrl_jax.models import spatiotemporal, vit
from tvrl_jax.models.part import Part, apply

DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: whatever the parameters are


class Size(NamedTuple):
    width: int
    depth: int
    heads: int


SIZES = {
    "nano": Size(48, 2, 3),  # for tests
    "micro": Size(96, 2, 3),  # for demonstrations on a CPU
    "tiny": Size(192, 12, 3),
    "small": Size(384, 12, 6),
    "base": Size(768, 12, 12),
    "large": Size(1024, 24, 16),
}


class Settings(NamedTuple):
    """Keys of config.model, and what the data decides."""

    frames: int
    channels: int
    arch: str
    image_size: int
    input_mean: float
    input_std: float
    stem: str
    patch_size: int
    dropout: float
    drop_path: float
    temporal_width: int
    temporal_depth: int
    temporal_heads: int
    time_embedding: bool
    max_period: float
    head_hidden: int
    head_width: int
    head_norm: bool
    batchnorm_padding: bool
    remat: bool
    dtype: str
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    tubelet: int


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


def settings(**values: Any) -> Settings:
    """Raises UserError for sizes that do not fit together."""
    m = Settings(**values)
    _check_name("model.arch", m.arch, SIZES)
    _check_name("model.dtype", m.dtype, DTYPES)
    _check_name("model.stem", m.stem, ("conv", "patch"))
    if m.stem == "conv" and m.patch_size != 16:
        raise UserError(
            f"model.patch_size = {m.patch_size}: the conv stem's patches are 16 pixels."
        )
    _check_divides("model.patch_size", m.patch_size, "model.image_size", m.image_size)
    _check_divides("model.temporal_heads", m.temporal_heads, "the temporal width", _width(m))
    _check_divides("model.decoder_heads", m.decoder_heads, "model.decoder_width", m.decoder_width)
    return m


def _check_name(key: str, value: str, known) -> None:
    if value not in known:
        raise UserError(f'{key} = "{value}" is not one that exists.{nearest(value, known)}')


def _check_divides(key: str, part: int, other: str, whole: int) -> None:
    if part < 1 or whole % part:
        raise UserError(f"{key} = {part} does not divide {other}, {whole}.")


def _width(m: Settings) -> int:
    return m.temporal_width or SIZES[m.arch].width


def _vit(m: Settings, grid, patch, dropout: float) -> dict:
    """Fields of the ViT."""
    size, stem = SIZES[m.arch], m.stem
    return dict(
        **size._asdict(), grid=grid, stem=stem, patch=patch, dropout=dropout,
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


def factorised(m: Settings) -> Stack:
    side, width, dtype = m.image_size // m.patch_size, _width(m), DTYPES[m.dtype]
    patch = (1, m.patch_size, m.patch_size)
    fields = _vit(m, (1, side, side), patch, m.dropout)
    blocks = (m.temporal_depth, m.temporal_heads, m.drop_path, m.remat, dtype)
    frame = jnp.zeros((1, m.image_size, m.image_size, m.channels))
    row, valid = jnp.zeros((1, m.frames, width)), jnp.ones((1, m.frames), bool)
    per_frame = Part(
        ("encoder", "spatial"),
        spatiotemporal.Projected(fields, width),
        (frame,),
        dict(train=False, key=None),
    )
    embedding = Part(
        ("encoder", "embed"),
        spatiotemporal.FrameEmbedding(width, m.frames, m.time_embedding, m.max_period, dtype),
        (row, jnp.zeros((1, m.frames))),
        {},
    )
    over_time = Part(
        ("encoder", "temporal"),
        spatiotemporal.Temporal(width, *blocks),
        (row, valid),
        dict(causal=False, key=None),
    )

    def spatial(params, extra, clip_BTHWC, valid_BT, *, train, key):
        _check_clip(clip_BTHWC, m)
        B, T = clip_BTHWC.shape[:2]
        frame_NHWC = _standardise(clip_BTHWC, m).reshape(B * T, *clip_BTHWC.shape[2:])
        counted_N = None if m.batchnorm_padding else valid_BT.reshape(-1)
        key = key if train else None
        feature_ND, extra = apply(
            per_frame, params, extra, frame_NHWC, counted_N, train=train, key=key
        )
        return feature_ND.reshape(B, T, -1), extra

    def embed_time(params, feature_BTD, time_BT):
        return apply(embedding, params, {}, feature_BTD, time_BT)[0]

    def temporal(params, x_BTD, key_mask_BT, *, train, key, causal=False):
        key = key if train else None
        out, _ = apply(over_time, params, {}, x_BTD, key_mask_BT, causal=causal, key=key)
        return (None, out) if causal else (out[:, 0], out[:, 1:])

    parts = [per_frame, embedding, over_time]
    keys = lambda valid_BT: valid_BT  # noqa: E731
    return Stack(parts, spatial, embed_time, temporal, keys, None, (m.frames, side, side), width)


def joint(m: Settings) -> Stack:
    if m.stem != "patch":
        raise UserError(f'model.stem = "{m.stem}": VideoMAE cuts tubelets, so say "patch".')
    _check_divides("model.tubelet", m.tubelet, "clips.frames", m.frames)
    side, size = m.image_size // m.patch_size, SIZES[m.arch]
    grid = (m.frames // m.tubelet, side, side)
    module = vit.ViT(**_vit(m, grid, (m.tubelet, m.patch_size, m.patch_size), 0.0))
    clip = jnp.zeros((1, m.frames, m.image_size, m.image_size, m.channels))
    part = Part(("encoder", "vit"), module, (clip,), dict(train=False, key=None))

    def spatial(params, extra, clip_BTHWC, valid_BT, *, train, key):
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
