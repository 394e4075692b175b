"""Rows times a matrix of weights, which may be more precise than the rows."""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from tvrl_jax.models import remat


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., I] @ kernel [I, O] in the precision of x; the gradient of the kernel is summed in
    that of the kernel.

    JAX would round a device's part of a bfloat16 product's gradient, and then sum those of all
    devices in bfloat16.
    """
    if x.dtype == kernel.dtype:
        return jnp.matmul(x, kernel)
    return checkpoint_name(_narrow.bind(x, kernel), remat.PRODUCT)


# A primitive, not a jax.custom_vjp: of views mapped side by side that one makes a gradient each,
# and XLA then sends each of them across the devices before it adds them up. With a primitive the
# views are further rows, before any gradient is taken; and a gradient that is mapped stays mapped.
_narrow = Primitive("narrow_product")


def _forward(x, kernel):
    return jnp.matmul(x, kernel.astype(x.dtype))


def _gradient_of_rows(out_bar, x, kernel):
    return jnp.matmul(out_bar, kernel.astype(out_bar.dtype).T)


def _gradient_of_kernel(out_bar, x, kernel):
    aval = kernel.aval
    return jnp.einsum("...i,...o->io", x, out_bar, preferred_element_type=aval.dtype)


def _of_views(operands, axes):
    (x, kernel), (axis, of_kernel) = operands, axes
    if of_kernel is not None:
        raise NotImplementedError("Weights in float32 of rows in bfloat16 cannot be mapped over.")
    return _narrow.bind(jnp.moveaxis(x, axis, 0), kernel), 0


_narrow.def_impl(_forward)
_narrow.def_abstract_eval(lambda x, kernel: ShapedArray((*x.shape[:-1], kernel.shape[-1]), x.dtype))
mlir.register_lowering(_narrow, mlir.lower_fun(_forward, multiple_results=False))
ad.defbilinear(_narrow, _gradient_of_rows, _gradient_of_kernel)
batching.primitive_batchers[_narrow] = _of_views
