"""The compiled part of the `cls` probe: many fits of a CLS token and a head, side by side."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tvrl_jax.probing import heads
from tvrl_jax.probing.windows import Windows

AT_ONCE = 64  # windows of a validation or test pass that share one call


class Clips(NamedTuple):
    """A split: the frame features that are cached, and the windows over them."""

    frame_FD: np.ndarray
    windows: Windows


def with_cls(params: dict, cls_D) -> dict:
    """The parameters with another temporal CLS token; nothing else differs."""
    encoder = params["encoder"]
    temporal = {**encoder["temporal"], "cls": cls_D}
    return {**params, "encoder": {**encoder, "temporal": temporal}}


def start(key, width: int, outputs: int) -> dict:
    """A CLS token from U(+-sqrt(6 / 2D)) and a head."""
    of_cls, of_head = jax.random.split(key)
    limit = (6 / (2 * width)) ** 0.5
    cls_D = jax.random.uniform(of_cls, (width,), minval=-limit, maxval=limit)
    return {"cls": cls_D, "head": heads.init(of_head, width, outputs)}


def forward(network, params, part: dict, feature_BTD, time_BT, valid_BT):
    """Outputs of windows of frame features, [B, K]."""
    x_BTD = network.embed_time(params, feature_BTD, time_BT)
    own = with_cls(params, part["cls"])
    cls_BD, _ = network.temporal(own, x_BTD, valid_BT, train=False, key=None, rows=1)
    return heads.apply(part["head"], cls_BD)


def outputs(network, params, part: dict, clips: Clips, ids_B):
    """Outputs of the windows `ids_B`."""
    table = clips.windows
    feature_BTD = clips.frame_FD[table.frame_WT[ids_B]]
    times = (table.time_WT[ids_B], table.valid_WT[ids_B])
    return forward(network, params, part, feature_BTD, *times)


def every_output(network, params, part: dict, clips: Clips):
    """Outputs of every window, [W, K], some at a time."""

    def one(w):
        return outputs(network, params, part, clips, w[None])[0]

    return jax.lax.map(one, jnp.arange(len(clips.windows.series_W)), batch_size=AT_ONCE)


@functools.cache
def all_outputs(network):
    """Compiled (params, part, clips) -> outputs of every window."""
    return jax.jit(functools.partial(every_output, network))


@functools.cache
def trainer(network, kind: str, classes: int):
    """Compiled (begin, advance): a carry for every fit, and the carry after one evaluation more.

    begin(fits, rates) -> carry; advance(params, train clips, validation clips, fits, rates, carry,
    ids_MSB, number) -> carry, whose second entry is the best part of every fit so far.
    `fits` holds arrays with one row per fit: target_MN, val_target_MJ, val_weight_MJ and seed_M;
    `rates` is (learning rate, weight decay); ids_MSB are the windows to learn from on the way to
    step `number`. The features are arguments: as constants they would be compiled into the program.
    One call an evaluation, and not one for all: so its caller can tell how far it is.
    """
    loss = heads.loss(kind)

    def error(part, params, train, fit, ids_B):
        output_BK = outputs(network, params, part, train, ids_B)
        return jnp.mean(loss(output_BK, fit["target_MN"][train.windows.series_W[ids_B]]))

    def begin(fit, pair):
        part = start(jax.random.key(fit["seed_M"]), network.width, classes)
        best = {"part": part, "loss": jnp.inf, "step": jnp.int32(0)}
        return (part, optax.adamw(pair[0], weight_decay=pair[1]).init(part)), best

    def advance(params, train, val, fit, pair, carry, ids_SB, number):
        optimiser = optax.adamw(pair[0], weight_decay=pair[1])

        def step(carry, ids_B):
            part, state = carry
            gradient = jax.grad(error)(part, params, train, fit, ids_B)
            update, state = optimiser.update(gradient, state, part)
            return (optax.apply_updates(part, update), state), None

        (part, state), _ = jax.lax.scan(step, carry[0], ids_SB)
        output_WK = every_output(network, params, part, val)
        now = {"part": part, "loss": _error_of_means(loss, output_WK, val, fit), "step": number}
        return (part, state), _better(now, carry[1])

    in_axes = (None, None, None, 0, 0, 0, 0, None)
    return jax.jit(jax.vmap(begin)), jax.jit(jax.vmap(advance, in_axes), donate_argnums=5)


def _error_of_means(loss, output_WK, clips: Clips, fit):
    """Validation loss of the outputs averaged over the windows of each series."""
    series = fit["val_target_MJ"].shape[0]
    total_JK = jax.ops.segment_sum(output_WK, clips.windows.series_W, series)
    count_J = jax.ops.segment_sum(jnp.ones(len(output_WK)), clips.windows.series_W, series)
    value_J = loss(total_JK / count_J[:, None], fit["val_target_MJ"])
    return heads.mean(value_J, fit["val_weight_MJ"])


def _better(now: dict, best: dict) -> dict:
    smaller = now["loss"] < best["loss"]
    return jax.tree.map(lambda a, b: jnp.where(smaller, a, b), now, best)
