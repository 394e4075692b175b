"""The convolution of the stem, 3x3 with stride 2, on one device and on many."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.custom_batching import custom_vmap
from jax.nn.initializers import zeros

from tvrl_jax import sharding
from tvrl_jax.models import layers
from tvrl_jax.models.product import product


class StridedConv(nn.Module):
    """3x3 convolution, stride 2, one pixel of zeros around, no bias."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x_NHWC):
        shape = (3, 3, x_NHWC.shape[-1], self.features)
        kernel = self.param("kernel", zeros, shape, jnp.float32)
        x_NHWC, kernel = layers.operands(x_NHWC, kernel, self.dtype)
        # XLA's convolution has a slow backward pass on CPUs: a matrix product is twice as fast.
        convolve = conv_by_matmul if sharding.platform() == "cpu" else conv
        return convolve(x_NHWC, kernel)


@jax.custom_vjp
def conv(x_NHWC, kernel):
    """XLA's convolution, whose rows stay on their devices when views are mapped side by side.

    Under `jax.vmap` JAX makes one batch of views and rows with the views first. Of rows that are
    spread over devices no device then has a block, and the compiler gathers all images everywhere.
    Here the rows come first. JAX cannot derive the gradient of an operation whose mapping is given,
    so that it is given, too.
    """
    return _forward(x_NHWC, kernel)


def _convolve(x_NHWC, kernel):
    return jax.lax.conv_general_dilated(
        x_NHWC,
        kernel.astype(x_NHWC.dtype),
        window_strides=(2, 2),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _kernel_gradient(x_NHWC, kernel, out_bar_NHWC):
    """In the kernel's precision: it is summed over devices, too (see `product.py`)."""
    return jax.lax.conv_general_dilated(
        x_NHWC,
        out_bar_NHWC,
        window_strides=(1, 1),
        padding=[(1, side % 2) for side in x_NHWC.shape[1:3]],
        rhs_dilation=(2, 2),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=kernel.dtype,
    )


def _rows_gradient(x_NHWC, kernel, out_bar_NHWC):
    (x_bar,) = jax.vjp(lambda x: _convolve(x, kernel), x_NHWC)[1](out_bar_NHWC)
    return x_bar


def _pull(x_NHWC, kernel, out_bar_NHWC):
    """The gradients of both operands, from that of the result."""
    given = x_NHWC, kernel, out_bar_NHWC
    return _rows_gradient(*given), _kernel_gradient(*given)


_forward = custom_vmap(_convolve)
_backward = custom_vmap(_pull)


@_forward.def_vmap
def _forward_of_views(views, mapped, x, kernel):
    if mapped != [True, False]:
        return jax.vmap(_convolve, _axes(mapped))(x, kernel), True
    return _apart(_convolve(_rows_first(x), kernel), views), True


@_backward.def_vmap
def _backward_of_views(views, mapped, x, kernel, out_bar):
    if mapped != [True, False, True]:
        return jax.vmap(_pull, _axes(mapped))(x, kernel, out_bar), (True, True)
    x_bar = _rows_gradient(_rows_first(x), kernel, _rows_first(out_bar))
    kernel_bar_V = [_kernel_gradient(x[v], kernel, out_bar[v]) for v in range(views)]
    return (_apart(x_bar, views), jnp.stack(kernel_bar_V)), (True, True)


conv.defvjp(
    lambda x_NHWC, kernel: (_forward(x_NHWC, kernel), (x_NHWC, kernel)),
    lambda kept, out_bar_NHWC: _backward(*kept, out_bar_NHWC),
)


def _axes(mapped) -> list:
    return [0 if one else None for one in mapped]


def _rows_first(x_VN):
    """[V, N, ...] -> [N V, ...]."""
    return jnp.moveaxis(x_VN, 0, 1).reshape(-1, *x_VN.shape[2:])


def _apart(x_M, views: int):
    """[N V, ...] -> [V, N, ...]."""
    return jnp.moveaxis(x_M.reshape(-1, views, *x_M.shape[1:]), 1, 0)


def conv_by_matmul(x_NHWC, kernel):
    """The same as `conv`: the nine strided views side by side, times the kernel as a matrix."""
    N, H, W, C = x_NHWC.shape
    padded = jnp.pad(x_NHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    views = [padded[:, i : i + H : 2, j : j + W : 2] for i in range(3) for j in range(3)]
    rows = jnp.concatenate(views, -1).reshape(-1, 9 * C)
    out = product(rows, kernel.reshape(9 * C, -1))
    return out.reshape(N, H // 2, W // 2, -1)
