"""What stands on the encoder while it is trained."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import zeros

from tvrl_jax.models import layers
from tvrl_jax.models.spatiotemporal import TimeEmbedding

TIME_AXES = 64  # directions of the feature space that time may move a feature along


class Projection(nn.Module):
    """Linear - [BatchNorm] - ReLU - Linear - [BatchNorm]: the embedding that is compared."""

    hidden: int
    width: int
    norm: bool
    dtype: Any

    @nn.compact
    def __call__(self, cls_BD, counted_B=None, *, train: bool):
        bias = not self.norm  # BatchNorm brings its own
        x = layers.linear(self.hidden, "in", self.dtype, bias)(cls_BD)
        if self.norm:
            x = layers.BatchNorm(self.dtype, name="norm_in")(x, counted_B, train=train)
        x = layers.linear(self.width, "out", self.dtype, bias)(nn.relu(x))
        if not self.norm:
            return x
        return layers.BatchNorm(self.dtype, name="norm_out")(x, counted_B, train=train)


class TokenHead(nn.Module):
    """LayerNorm - Linear - ReLU - Linear: predicts the feature of a frame that was not seen."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, token_BTD):
        D = token_BTD.shape[-1]
        self.param("mask", zeros, (D,), jnp.float32)  # stands in for a frame that is hidden
        x = layers.layer_norm("norm", self.dtype)(token_BTD)
        x = nn.relu(layers.linear(self.hidden, "in", self.dtype)(x))
        return layers.linear(D, "out", self.dtype)(x)


class TimeShift(nn.Module):
    """Latent time navigation (Yang et al. 2023): f + MLP([f, TE(|dt|)]) Q^T.

    Q [D,64] holds orthonormal directions, the reduced QR of a learned basis; fewer where D < 64.
    """

    hidden: int
    max_period: float
    dtype: Any

    @nn.compact
    def __call__(self, feature_BD, dt_B):
        D = feature_BD.shape[-1]
        basis_AD = self.param("basis", zeros, (min(TIME_AXES, D), D), jnp.float32)
        directions_DA, _ = jnp.linalg.qr(basis_AD.T)
        embed = TimeEmbedding(D, self.max_period, self.dtype, name="time")
        x = jnp.concatenate([feature_BD, embed(jnp.abs(dt_B)).astype(feature_BD.dtype)], axis=-1)
        x = nn.relu(layers.linear(self.hidden, "in", self.dtype)(x))
        x = layers.linear(basis_AD.shape[0], "out", self.dtype)(x)
        return feature_BD + x @ directions_DA.T


class Readout(nn.Module):
    """One linear map to the targets."""

    outputs: int
    dtype: Any

    @nn.compact
    def __call__(self, cls_BD):
        return layers.linear(self.outputs, "out", self.dtype)(cls_BD)
