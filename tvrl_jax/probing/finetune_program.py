"""The compiled part of fine-tuning: one training step, and the outputs in eval mode."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tvrl_jax.augment import augment as augment_views
from tvrl_jax.augment import resize
from tvrl_jax.probing import heads
from tvrl_jax.probing.features import Encoder


class Network(NamedTuple):
    """What is trained: every array, in one pytree each."""

    params: dict  # {"network": ..., "head": ...}
    extra: dict  # BatchNorm statistics
    state: Any  # of the optimiser


class Compiled(NamedTuple):
    step: Callable
    output: Callable


def start(encoder: Encoder, *, outputs: int, seed: int, clip_norm: float) -> Network:
    """The encoder with a new head; the encoder's own arrays stay as they are."""
    width = encoder.network.width
    params = {"network": encoder.params, "head": heads.init(jax.random.key(seed), width, outputs)}
    params = jax.tree.map(jnp.array, params)  # copies: the steps give their arrays away
    extra = jax.tree.map(jnp.array, encoder.extra)
    network = Network(params, extra, _optimiser(clip_norm).init(params))
    # All bound to one device, as what a step returns is: else the second step compiles again.
    return jax.device_put(network, jax.devices()[0])


def compile_for(encoder: Encoder, kind: str, *, augment: dict, clip_norm: float) -> Compiled:
    """The training step (network, batch, key, rate, decay) and the outputs of windows."""
    size = encoder.config.model.image_size
    loss, optimiser = heads.loss(kind), _optimiser(clip_norm)

    def step(network: Network, batch, key, rate, decay):
        of_clip, of_dropout = jax.random.split(key)
        arrays = (batch[k] for k in ("clip_BVTHWC", "time_BVT", "valid_BVT"))
        clip, time, valid = augment_views(of_clip, *arrays, views=1, size=size, **augment)
        views = (clip[:, 0], time[:, 0], valid[:, 0])

        def error(params):
            out = forward(encoder.network, params, network.extra, *views, key=of_dropout)
            return heads.mean(loss(out[0], batch["target_B"]), batch["weight_B"]), out[1]

        (value, extra), gradient = jax.value_and_grad(error, has_aux=True)(network.params)
        update, state = optimiser.update(gradient, network.state, network.params)
        move = lambda p, u: p - rate * (u + decay * p)  # noqa: E731  AdamW
        return Network(jax.tree.map(move, network.params, update), extra, state), value

    def output(params, extra, clip_BTHWC, time_BT, valid_BT):
        views = (resize(clip_BTHWC, size), time_BT, valid_BT)
        return forward(encoder.network, params, extra, *views, key=None)[0]

    return Compiled(jax.jit(step, donate_argnums=0), jax.jit(output))


def _optimiser(clip_norm: float) -> optax.GradientTransformation:
    """Adam without its rate, which changes from step to step and must not recompile the step.

    On one flat vector: a program of few large operations compiles in half the time.
    """
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    return optax.flatten(optax.chain(clip, optax.scale_by_adam()))


def forward(network, params, extra, clip_BTHWC, time_BT, valid_BT, *, key):
    """Outputs [B, K] and BatchNorm statistics; a key means training, None eval mode."""
    train = key is not None
    of_space, of_time = jax.random.split(key) if train else (None, None)
    x_BND, extra = network.spatial(
        params["network"], extra, clip_BTHWC, valid_BT, train=train, key=of_space
    )
    x_BND = network.embed_time(params["network"], x_BND, time_BT)
    how = dict(train=train, key=of_time, rows=1)
    cls_BD, _ = network.temporal(params["network"], x_BND, valid_BT, **how)
    return heads.apply(params["head"], cls_BD), extra
