"""The training state: one pytree of arrays, and nothing else."""

import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tvrl_jax import sharding
from tvrl_jax.models.build import Network


class State(NamedTuple):
    step: jax.Array  # int32 scalar: updates done
    params: Any
    extra: Any  # BatchNorm statistics
    opt_state: Any
    ema: Any  # averaged copy of params["encoder"], or {}


def stream(seed: int, name: str, step: jax.Array | int) -> jax.Array:
    """A key for one purpose at one step: nothing random is stored, so that resuming is exact."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()) & 0x7FFFFFFF)
    return jax.random.fold_in(key, step)


def create(network: Network, tx: optax.GradientTransformation, seed: int, ema: float) -> State:
    """A fresh state, to be run under jit."""
    params, extra = network.init(stream(seed, "init", 0))
    copy = jax.tree.map(jnp.copy, params["encoder"]) if ema else {}
    return State(jnp.zeros((), jnp.int32), params, extra, tx.init(params), copy)


def create_sharded(network, tx, *, seed: int, ema: float, mesh, kind: str) -> State:
    """A fresh state that is never whole on one device when `kind` spreads it."""

    def fresh() -> State:
        return create(network, tx, seed, ema)

    shardings = sharding.state_shardings(mesh, jax.eval_shape(fresh), kind)
    return jax.jit(fresh, out_shardings=shardings)()


def abstract(state: State) -> State:
    """Shapes, dtypes and shardings of a state, as a restore target."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
