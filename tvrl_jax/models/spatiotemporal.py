"""Frames -> features in time: the space-time factorised encoder."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn.initializers import zeros

from tvrl_jax.models import layers, vit


class Projected(nn.Module):
    """E_S: one frame -> its CLS feature, mapped to the temporal width where that differs."""

    vit: dict  # fields of ViT
    temporal_width: int

    @nn.compact
    def __call__(self, frame_NHWC, counted_N=None, *, train: bool, key):
        encoder = vit.ViT(**self.vit, name="vit")
        cls_N1D = encoder(frame_NHWC[:, None], None, counted_N, train=train, key=key, rows=1)
        feature_ND = cls_N1D[:, 0]
        if feature_ND.shape[-1] == self.temporal_width:
            return feature_ND
        return layers.linear(self.temporal_width, "mid", encoder.dtype)(feature_ND)


class TimeEmbedding(nn.Module):
    """Time -> [cos(t f) | sin(t f)] -> Linear-SiLU-Linear, f geometric from 1 to 1/max_period.

    The phase is computed in float32 whatever the precision of the rest.
    """

    width: int
    max_period: float
    dtype: Any

    @nn.compact
    def __call__(self, time):
        wave = waves(time, self.width, self.max_period)
        hidden = nn.silu(layers.linear(self.width, "in", self.dtype)(wave))
        return layers.linear(self.width, "out", self.dtype)(hidden)


def waves(time, width: int, max_period: float):
    """[...] -> [..., width] in float32, cosines first."""
    half = width // 2
    index = np.arange(half, dtype=np.float32)
    # Float32 exponents, correctly rounded powers: the published frequencies to the last bit.
    exponent = np.float32(-np.log(max_period)) * index / np.float32(half)
    frequency = np.exp(exponent.astype(np.float64)).astype(np.float32)
    phase = time.astype(jnp.float32)[..., None] * frequency
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


class FrameEmbedding(nn.Module):
    """Adds the learned position of each frame and, when on, the embedding of its time."""

    width: int
    frames: int
    timed: bool
    max_period: float
    dtype: Any

    @nn.compact
    def __call__(self, feature_BTD, time_BT):
        positions = self.param("positions", zeros, (self.frames, self.width), jnp.float32)
        x_BTD = feature_BTD + positions[: feature_BTD.shape[1]]
        if self.timed:
            embedding = TimeEmbedding(self.width, self.max_period, self.dtype, name="time")
            x_BTD = x_BTD + embedding(time_BT)
        return x_BTD


class Temporal(nn.Module):
    """E_T: blocks over a temporal CLS and the frames, or, causally, over the frames alone.

    There is no final norm. With `rows`, the last block computes only the first ones, CLS first.
    """

    width: int
    depth: int
    heads: int
    drop_path: float
    remat: str
    dtype: Any

    @nn.compact
    def __call__(self, x_BTD, key_mask_BT, *, causal: bool, key, rows: int | None = None):
        cls = self.param("cls", zeros, (self.width,), jnp.float32)
        blocks = vit.Blocks(
            self.depth, self.heads, 0.0, self.drop_path, self.remat, self.dtype, name="blocks"
        )
        if not causal:
            return vit.run(blocks, cls, x_BTD, key_mask_BT, key=key, rows=rows)
        past_TT = jnp.tril(jnp.ones((x_BTD.shape[1],) * 2, bool))
        mask = past_TT & key_mask_BT.astype(bool)[:, None, None, :]
        return blocks(x_BTD, mask, key)
