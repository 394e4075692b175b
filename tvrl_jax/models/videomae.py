"""Masked video autoencoding: reconstruct the nine tenths of a clip that were removed.

Tong et al. 2022 (VideoMAE), Feichtenhofer et al. 2022.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import zeros

from tvrl_jax.models import layers, positions, vit
from tvrl_jax.models.positions import Grid
from tvrl_jax.models.stem import patchify


def split(noise_BN, valid_BN, keep: int):
    """-> (ids of the visible tokens [B,keep], place of each token in that order [B,N]).

    Ties keep their order, so that whole tubes stay or go; padding goes last.
    """
    order_BN = jnp.argsort(jnp.where(valid_BN, noise_BN, jnp.inf), axis=1)
    return order_BN[:, :keep], jnp.argsort(order_BN, axis=1)


def of_frames(valid_BT, size: Grid, values: int):
    """Which values of each patch are of a valid frame, [B,N,P]: `size` tokens, `values` a frame."""
    valid_BGt = valid_BT.reshape(len(valid_BT), size[0], -1)
    return valid_BGt.repeat(math.prod(size[1:]), axis=1).repeat(values, axis=2)


def normalised_patches(clip_BTHWC, patch: tuple[int, int, int], real_BNP):
    """The target: patches with mean 0 and variance 1 each (unbiased variance + 1e-6).

    Mean and variance are of the real values alone; the others, and those of a patch without any,
    mean nothing.
    """
    patch_BNP = patchify(clip_BTHWC, patch)
    count = real_BNP.sum(-1, keepdims=True)
    mean = jnp.where(real_BNP, patch_BNP, 0).sum(-1, keepdims=True) / jnp.maximum(count, 1)
    gap_BNP = jnp.where(real_BNP, patch_BNP - mean, 0)
    variance = jnp.square(gap_BNP).sum(-1, keepdims=True) / jnp.maximum(count - 1, 1)
    return gap_BNP * jax.lax.rsqrt(variance + 1e-6)


class Decoder(nn.Module):
    """Visible features and mask tokens at their places -> the values of every patch.

    `grid` is how many tokens the learned positions are for; for a clip of another `size`, they are
    interpolated. No final norm, as published.
    """

    width: int
    depth: int
    heads: int
    grid: Grid
    values: int
    remat: str
    dtype: Any

    @nn.compact
    def __call__(self, latent_BKD, place_BN, seen_BN, valid_BN, *, size: Grid, key):
        width = (self.width,)
        shape = (1 + math.prod(self.grid), *width)
        mask_token = self.param("mask", zeros, width, jnp.float32)
        position = self.param("positions", zeros, shape, jnp.float32)
        position_ND = positions.resize(position[1:], self.grid, size)
        x = layers.linear(self.width, "mid", self.dtype)(latent_BKD)
        token_BND = put_back(x[:, 1:], mask_token, place_BN, seen_BN) + position_ND
        blocks = vit.Blocks(self.depth, self.heads, 0.0, 0.0, self.remat, self.dtype, name="blocks")
        cls_B1D = x[:, :1] + position[0]
        x = vit.run(blocks, cls_B1D, token_BND, valid_BN, key=key)
        return layers.linear(self.values, "out", self.dtype)(x[:, 1:])


def put_back(visible_BKD, mask_token_D, place_BN, seen_BN):
    """Every token at its place: a visible one where it was seen, else the mask token."""
    last = visible_BKD.shape[1] - 1
    known_BND = jnp.take_along_axis(visible_BKD, jnp.minimum(place_BN, last)[..., None], axis=1)
    return jnp.where(seen_BN[..., None], known_BND, layers.spread(mask_token_D, known_BND))
