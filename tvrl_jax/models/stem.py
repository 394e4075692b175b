"""From pixels to tokens: four strided convolutions, or one linear map per patch."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import zeros

from tvrl_jax.models import layers

NORMS = ("norm0", "norm1", "norm2", "norm3")  # of the convolutional stem


class ConvStem(nn.Module):
    """Four [convolution 3x3 stride 2, BatchNorm, ReLU], then 1x1: 16x16 patches (Xiao et al. 2021).

    Takes single frames [N,1,H,W,C]; gives [N,(H/16)(W/16),D].
    """

    width: int
    patch: tuple[int, int, int]
    dtype: Any

    @nn.compact
    def __call__(self, clip_NTHWC, counted_N=None, *, train: bool):
        x = clip_NTHWC[:, 0]
        for i, (norm, divisor) in enumerate(zip(NORMS, (8, 4, 2, 1), strict=True)):
            x = StridedConv(self.width // divisor, self.dtype, name=f"conv{i}")(x)
            x = layers.BatchNorm(self.dtype, name=norm)(x, counted_N, train=train)
            x = nn.relu(x)
        x = x.reshape(x.shape[0], -1, self.width)
        return layers.linear(self.width, "out", self.dtype)(x)


class StridedConv(nn.Module):
    """3x3 convolution, stride 2, one pixel of zeros around, no bias."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x_NHWC):
        shape = (3, 3, x_NHWC.shape[-1], self.features)
        kernel = self.param("kernel", zeros, shape, jnp.float32)
        x_NHWC, kernel = nn.dtypes.promote_dtype(x_NHWC, kernel, dtype=self.dtype)
        # XLA's convolution has a slow backward pass on CPUs: a matrix product is twice as fast.
        convolve = conv_by_matmul if jax.default_backend() == "cpu" else conv
        return convolve(x_NHWC, kernel)


def conv(x_NHWC, kernel):
    return jax.lax.conv_general_dilated(
        x_NHWC, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv_by_matmul(x_NHWC, kernel):
    """The same as `conv`: the nine strided views side by side, times the kernel as a matrix."""
    N, H, W, C = x_NHWC.shape
    padded = jnp.pad(x_NHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    views = [padded[:, i : i + H : 2, j : j + W : 2] for i in range(3) for j in range(3)]
    out = jnp.concatenate(views, -1).reshape(-1, 9 * C) @ kernel.reshape(9 * C, -1)
    return out.reshape(N, H // 2, W // 2, -1)


class PatchStem(nn.Module):
    """One linear map per patch of a frame, or per tubelet of a clip."""

    width: int
    patch: tuple[int, int, int]
    dtype: Any

    @nn.compact
    def __call__(self, clip_NTHWC, counted_N=None, *, train: bool):
        return layers.linear(self.width, "proj", self.dtype)(patchify(clip_NTHWC, self.patch))


def patchify(clip_NTHWC, patch: tuple[int, int, int]):
    """-> [N,tokens,values]: tokens by (time, row, column), values by (t, row, column, C)."""
    N, T, H, W, C = clip_NTHWC.shape
    t, h, w = patch
    x = clip_NTHWC.reshape(N, T // t, t, H // h, h, W // w, w, C)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(N, -1, t * h * w * C)
