"""The transformer over patches of a frame, or tubelets of a clip (Dosovitskiy et al. 2021)."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import zeros

from tvrl_jax.losses import wide
from tvrl_jax.models import layers, positions, stem
from tvrl_jax.models.remat import recomputed


def attention(query_BQhd, key_BKhd, mask=None):
    """Softmax weights [B,h,Q,K]. `mask` broadcasts to them, True = seen.

    A query that sees no key at all has weights of zero, with zero gradient.
    """
    scale = query_BQhd.shape[-1] ** -0.5
    logits_BhQK = wide(jnp.einsum("bqhd,bkhd->bhqk", query_BQhd, key_BKhd))
    logits_BhQK = logits_BhQK * scale
    if mask is None:
        return jax.nn.softmax(logits_BhQK, axis=-1)
    logits_BhQK = jnp.where(mask, logits_BhQK, jnp.finfo(logits_BhQK.dtype).min)
    return jnp.where(mask, jax.nn.softmax(logits_BhQK, axis=-1), 0)


class Attention(nn.Module):
    """Self-attention; one matrix without bias gives queries, keys and values.

    Who asks for the collection "intermediates" is given the weights, as "attention".
    """

    heads: int
    dtype: Any

    @nn.compact
    def __call__(self, x_BND, mask=None, rows: int | None = None):
        B, N, D = x_BND.shape
        qkv = layers.linear(3 * D, "qkv", self.dtype, bias=False)(x_BND)
        query, key, value = jnp.moveaxis(qkv.reshape(B, N, 3, self.heads, D // self.heads), 2, 0)
        weight_BhQK = attention(query[:, :rows], key, mask)
        self.sow("intermediates", "attention", weight_BhQK)
        out = jnp.einsum("bhqk,bkhd->bqhd", weight_BhQK.astype(value.dtype), value)
        return layers.linear(D, "proj", self.dtype)(out.reshape(B, -1, D))


class Block(nn.Module):
    """Pre-norm block; without `keys` there is no dropout and no stochastic depth.

    With `rows`, only the first rows are computed (they still see all).
    """

    heads: int
    dropout: float
    drop_path: float
    dtype: Any
    rows: int | None

    @nn.compact
    def __call__(self, x_BND, mask, keys):
        D = x_BND.shape[-1]
        key = [None] * 5 if keys is None else keys
        h = layers.layer_norm("norm1", self.dtype)(x_BND)
        h = Attention(self.heads, self.dtype, name="attn")(h, mask, self.rows)
        h = layers.dropout(h, self.dropout, key[0])
        x_BND = x_BND[:, : self.rows] + layers.drop_path(h, self.drop_path, key[1])
        h = layers.layer_norm("norm2", self.dtype)(x_BND)
        h = nn.gelu(layers.linear(4 * D, "fc1", self.dtype)(h), approximate=False)
        h = layers.linear(D, "fc2", self.dtype)(layers.dropout(h, self.dropout, key[2]))
        h = layers.dropout(h, self.dropout, key[3])
        return x_BND + layers.drop_path(h, self.drop_path, key[4])


class Blocks(nn.Module):
    """A stack of blocks; with `rows`, the last one computes only the first rows."""

    depth: int
    heads: int
    dropout: float
    drop_path: float
    remat: str  # of remat.POLICIES
    dtype: Any

    @nn.compact
    def __call__(self, x_BND, mask, key_B, rows: int | None = None):
        block = recomputed(Block, self.remat)
        keys = [None] * self.depth if key_B is None else self._keys(key_B)
        for i in range(self.depth):
            x_BND = block(
                self.heads,
                self.dropout,
                self.drop_path * i / max(self.depth - 1, 1),
                self.dtype,
                rows if i == self.depth - 1 else None,
                name=f"block{i}",  # named, or remat would rename the parameters
            )(x_BND, mask, keys[i])
        return x_BND

    def _keys(self, key_B):
        """-> [depth,5,B]."""
        split = functools.partial(jax.random.split, num=(self.depth, 5))
        return jax.vmap(split, out_axes=2)(key_B)


class ViT(nn.Module):
    """Frames or clips -> CLS and patch features, after a final LayerNorm.

    `grid` is how many tokens lie along time, rows and columns; the learned positions are as many,
    plus one for CLS. Clips of another size are welcome: the positions are interpolated.
    """

    width: int
    depth: int
    heads: int
    grid: tuple[int, int, int]
    stem: str
    patch: tuple[int, int, int]
    dropout: float
    drop_path: float
    remat: str  # of remat.POLICIES
    dtype: Any

    def setup(self):
        self.cls = self.param("cls", zeros, (self.width,), jnp.float32)
        count = 1 + math.prod(self.grid)
        self.positions = self.param("positions", zeros, (count, self.width), jnp.float32)
        make = stem.ConvStem if self.stem == "conv" else stem.PatchStem
        self.patches = make(self.width, self.patch, self.dtype)
        self.blocks = Blocks(
            self.depth, self.heads, self.dropout, self.drop_path, self.remat, self.dtype
        )
        self.norm = layers.layer_norm(None, self.dtype)

    def embed(self, clip_NTHWC, counted_N=None, *, train: bool):
        """-> patch embeddings with their positions, [N,tokens,D]."""
        token_NPD = self.patches(clip_NTHWC, counted_N, train=train)
        grid = tuple(n // p for n, p in zip(clip_NTHWC.shape[1:4], self.patch, strict=True))
        position_PD = positions.resize(self.positions[1:], self.grid, grid)
        return token_NPD + layers.spread(position_PD, token_NPD)

    def encode(self, token_BND, mask_BN=None, *, key, rows: int | None = None):
        """Embedded patches -> [B,1+N,D], CLS first; only the first `rows` when given.

        `mask_BN` hides patches as keys; CLS is always seen.
        """
        first = self.cls + self.positions[0]
        return self.norm(run(self.blocks, first, token_BND, mask_BN, key=key, rows=rows))

    def __call__(self, clip_NTHWC, mask_BN=None, counted_N=None, *, train, key, rows=None):
        token_BND = self.embed(clip_NTHWC, counted_N, train=train)
        return self.encode(token_BND, mask_BN, key=key, rows=rows)


def run(blocks, cls, token_BND, mask_BN, *, key, rows=None):
    """Blocks over CLS ([D], or [B,1,D]) and tokens, hidden tokens cannot be attended to."""
    first_B1D = layers.spread(cls, token_BND[:, :1])
    mask = None
    if mask_BN is not None:
        mask = jnp.pad(mask_BN.astype(bool), ((0, 0), (1, 0)), constant_values=True)
        mask = mask[:, None, None, :]
    x_BND = jnp.concatenate([first_B1D, token_BND], axis=1)
    return blocks(x_BND, mask, key, rows)
