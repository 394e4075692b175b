"""What config.model says, checked: which sizes there are and which fit together."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from tvrl_jax.errors import UserError
from tvrl_jax.models.remat import POLICIES

HEADS = 6  # of the temporal attention, as published
_NAMED = {False: "none", True: "blocks"}  # as settings said that were saved before the names
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
    remat: str
    dtype: str
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    tubelet: int


def check(**values: Any) -> Settings:
    """Raises UserError for sizes that do not fit together."""
    m = Settings(**values)
    m = m._replace(remat=_NAMED.get(m.remat, m.remat))
    _check_name("model.arch", m.arch, SIZES)
    m = _with_heads(_with_decoder(m))
    _check_name("model.dtype", m.dtype, DTYPES)
    _check_name("model.stem", m.stem, ("conv", "patch"))
    _check_name("model.remat", m.remat, POLICIES)
    if m.stem == "conv" and m.patch_size != 16:
        raise UserError(
            f"model.patch_size = {m.patch_size}: the conv stem's patches are 16 pixels."
        )
    check_divides("model.patch_size", m.patch_size, "model.image_size", m.image_size)
    check_divides("model.decoder_heads", m.decoder_heads, "model.decoder_width", m.decoder_width)
    return m


def _with_decoder(m: Settings) -> Settings:
    """With a decoder of its own size where none is given: that of Tong et al. 2022 for `base` and
    `large`, 384 x 4 and 512 x 4 with 6 and 8 heads."""
    size = SIZES[m.arch]
    return m._replace(
        decoder_width=m.decoder_width or size.width // 2,
        decoder_depth=m.decoder_depth or min(size.depth, 4),
        decoder_heads=m.decoder_heads or (size.heads if size.heads % 2 else size.heads // 2),
    )


def _with_heads(m: Settings) -> Settings:
    """With the published heads over time where none are given, or, where they do not divide the
    width (`large`), as many as over space."""
    own = SIZES[m.arch].heads if width(m) % HEADS else HEADS
    return m._replace(temporal_heads=m.temporal_heads or own)


def _check_name(key: str, value: str, known) -> None:
    if value not in known:
        raise UserError(f'{key} = "{value}" is unknown; take one of {", ".join(known)}.')


def check_divides(key: str, part: int, other: str, whole: int) -> None:
    if part < 1 or whole % part:
        raise UserError(f"{key} = {part} does not divide {other}, {whole}.")


def width(m: Settings) -> int:
    return m.temporal_width or SIZES[m.arch].width
