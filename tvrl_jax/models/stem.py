"""From pixels to tokens: four strided convolutions, or one linear map per patch."""

from typing import Any

from flax import linen as nn

from tvrl_jax.models import layers, strided

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
            x = strided.StridedConv(self.width // divisor, self.dtype, name=f"conv{i}")(x)
            x = layers.BatchNorm(self.dtype, name=norm)(x, counted_N, train=train)
            x = nn.relu(x)
        x = x.reshape(x.shape[0], -1, self.width)
        return layers.linear(self.width, "out", self.dtype)(x)


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
