"""Layers that everything else is made of: linear maps, normalisation, dropout.

Modules say the shape of a parameter; `initial.py` says how it starts.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.custom_batching import custom_vmap
from jax.nn.initializers import ones, zeros

from tvrl_jax.losses import wide
from tvrl_jax.models import moments
from tvrl_jax.models.product import product


@jax.custom_vjp
def spread(parameter: jax.Array, x: jax.Array) -> jax.Array:
    """A float32 parameter broadcast to the shape and the precision of x, in this order.

    The parameter's gradient is summed in float32: in bfloat16, as when it is cast first, a sum of
    some hundred equal terms no longer grows. Where views of x are mapped side by side each has a
    broadcast of its own: of a shared one JAX would add up the views' gradients in bfloat16.
    """
    return _broadcast(parameter, x)


def _like(parameter, x):
    return jnp.broadcast_to(parameter, x.shape).astype(x.dtype)


_broadcast = custom_vmap(_like)


@_broadcast.def_vmap
def _broadcast_to_views(views, mapped, parameter, x):
    if mapped != [False, True]:
        axes = [0 if one else None for one in mapped]
        return jax.vmap(_like, axes, axis_size=views)(parameter, x), True
    return _broadcast(parameter, x), True


def _sum_of_all(parameter, out_bar):
    """The gradient of a parameter that was broadcast, and none of what told the shape."""
    leading = out_bar.ndim - parameter.ndim
    total = out_bar.astype(parameter.dtype).sum(tuple(range(leading)))
    ones = tuple(i for i, n in enumerate(parameter.shape) if n == 1 != total.shape[i])
    return total.sum(ones, keepdims=True), None


spread.defvjp(lambda parameter, x: (spread(parameter, x), parameter), _sum_of_all)


class Linear(nn.Module):
    """x W + b, in `dtype` (None = that of x and W)."""

    features: int
    bias: bool
    dtype: Any

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", zeros, (x.shape[-1], self.features), jnp.float32)
        out = product(*operands(x, kernel, self.dtype))
        if not self.bias:
            return out
        return out + spread(self.param("bias", zeros, (self.features,), jnp.float32), out)


def operands(x, kernel, dtype: Any):
    """x in `dtype` and the kernel as it is; None = both in the wider precision of the two."""
    if dtype is None:
        return nn.dtypes.promote_dtype(x, kernel)
    return x.astype(dtype), kernel


def linear(features: int, name: str, dtype: Any, bias: bool = True) -> Linear:
    return Linear(features, bias, dtype, name=name)


def layer_norm(name: str | None, dtype: Any) -> nn.LayerNorm:
    """Statistics in float32 or better, by two passes: the fast variance cancels."""
    return nn.LayerNorm(epsilon=1e-5, dtype=dtype, use_fast_variance=False, name=name)


class BatchNorm(nn.Module):
    """Normalises the last axis over all others (Ioffe & Szegedy 2015).

    Running statistics move a tenth of the way to the batch's at each training call, the variance
    with Bessel's correction. Rows of the leading axis that `counted_N` leaves out are normalised
    like the rest, but have no say in the statistics.

    Rows that are but a part of their batch can be given the whole batch's `Moments`, as "batch" in
    the collection "moments"; who makes that collection mutable is told those that were used.
    """

    dtype: Any

    @nn.compact
    def __call__(self, x, counted_N=None, *, train: bool):
        width = x.shape[-1:]
        scale = self.param("scale", ones, width, jnp.float32)
        bias = self.param("bias", zeros, width, jnp.float32)
        kept_mean = self.variable("batch_stats", "mean", jnp.zeros, width, jnp.float32)
        kept_var = self.variable("batch_stats", "var", jnp.ones, width, jnp.float32)
        out_dtype = jnp.result_type(x, scale) if self.dtype is None else self.dtype
        x = wide(x)
        mean, var = kept_mean.value, kept_var.value
        if train:
            batch = self._batch_moments(x, counted_N)
            mean, var = batch.mean, batch.var
            if self.is_mutable_collection("batch_stats"):
                kept = kept_mean.value, kept_var.value
                kept_mean.value, kept_var.value = moments.moved(*kept, batch)
        return ((x - mean) * (jax.lax.rsqrt(var + 1e-5) * scale) + bias).astype(out_dtype)

    def _batch_moments(self, x, counted_N) -> moments.Moments:
        batch = self.get_variable("moments", "batch")
        batch = moments.of(x, counted_N) if batch is None else batch
        if self.is_mutable_collection("moments"):
            self.put_variable("moments", "batch", batch)
        return batch


def moved(kept: dict, used: dict) -> dict:
    """Running statistics of a BatchNorm after a batch, from its two collections' leaves."""
    mean, var = moments.moved(kept["mean"], kept["var"], used["batch"])
    return {"mean": mean, "var": var}


def row_keys(key: jax.Array | None, count: int) -> jax.Array | None:
    """A key for each of `count` rows, or those that are given.

    What a row draws then goes by its place in the batch alone, wherever and beside whichever
    others it is computed: in pieces, packed, or on many devices.
    """
    if key is None or key.ndim:
        return key
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes entries with probability `rate` (to 1/65536), scaling the rest up; no key, nothing.

    `key`: one for all, or [N] for the N rows of x. One 32-bit draw serves two entries: on a CPU the
    draws cost more than the arithmetic. They are a half of the width apart, since a TPU takes long
    to move numbers between neighbours.
    """
    if key is None or rate == 0:
        return x
    if key.ndim:
        return jax.vmap(dropout, (0, None, 0))(x, rate, key)
    *rows, width = x.shape
    drawn = (width + 1) // 2
    bits = jax.random.bits(key, (*rows, drawn), jnp.uint32)
    halves = jnp.concatenate([bits & 0xFFFF, bits >> 16], axis=-1)
    keep = halves[..., :width] >= round(rate * 65536)
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def drop_path(branch: jax.Array, rate: float, key_N: jax.Array | None) -> jax.Array:
    """Drops the branch of whole samples (stochastic depth, Huang et al. 2016), each by its key; no
    keys, nothing."""
    if key_N is None or rate == 0:
        return branch
    keep_N = jax.vmap(jax.random.bernoulli, (0, None))(key_N, 1 - rate)
    keep = keep_N.reshape(-1, *[1] * (branch.ndim - 1))
    return jnp.where(keep, branch / (1 - rate), 0).astype(branch.dtype)
