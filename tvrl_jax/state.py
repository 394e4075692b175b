"""The training state: one pytree of arrays, and nothing else."""

import functools
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tvrl_jax import sharding
from tvrl_jax.models.build import Network


class State(NamedTuple):
    step: jax.Array  # int32 scalar: steps done
    params: Any
    extra: Any  # BatchNorm statistics
    opt_state: Any
    ema: Any  # averaged copy of params["encoder"], or {}


def stream(seed: int | jax.Array, name: str, step: jax.Array | int) -> jax.Array:
    """A key for one purpose at one step: nothing random is stored, so that resuming is exact."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()) & 0x7FFFFFFF)
    return jax.random.fold_in(key, step)


def create(network: Network, tx: optax.GradientTransformation, seed: int, ema: float) -> State:
    """A fresh state, to be run under jit."""
    return _begin(tx, ema, *network.init(stream(seed, "init", 0)))


def _begin(tx: optax.GradientTransformation, ema: float, params, extra) -> State:
    copy = jax.tree.map(jnp.copy, params["encoder"]) if ema else {}
    return State(jnp.zeros((), jnp.int32), params, extra, tx.init(params), copy)


def create_sharded(network, tx, *, seed: int, ema: float, mesh, kind: str) -> State:
    """A fresh state, the same bit by bit for any mesh and `kind`.

    Parameters are drawn whole, as every step gathers them: drawn in parts, some would differ in
    their last bit. What the optimiser keeps is never whole on one device when `kind` spreads it.
    """
    whole = sharding.replicated(mesh)
    draw = jax.jit(lambda seed: network.init(stream(seed, "init", 0)), out_shardings=whole)
    drawn = draw(np.uint32(seed))  # as an argument: compiled once for all seeds
    begin = functools.partial(_begin, tx, ema)
    shardings = sharding.state_shardings(mesh, jax.eval_shape(begin, *drawn), kind)
    return jax.jit(begin, out_shardings=shardings)(*drawn)


def abstract(state: State) -> State:
    """Shapes, dtypes and shardings of a state, as a restore target."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
