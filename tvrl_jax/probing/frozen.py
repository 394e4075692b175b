"""Compiled eval-mode passes of an encoder, each compiled once for all splits and parameters."""

import functools

import jax
import jax.numpy as jnp

from tvrl_jax.augment import resize
from tvrl_jax.models.build import Network


@functools.cache
def frame_step(network: Network, side: int):
    """Compiled once for all splits and encoders of a network."""

    @jax.jit
    def step(params, extra, frame_BHWC):
        clip_B1HWC = resize(frame_BHWC[:, None], side)
        valid_B1 = jnp.ones(clip_B1HWC.shape[:2], bool)
        out, _ = network.spatial(params, extra, clip_B1HWC, valid_B1, train=False, key=None)
        return out[:, 0].astype(jnp.float32)

    return step


@functools.cache
def temporal_step(network: Network):
    """Compiled (params, feature_BTD, time_BT, valid_BT) -> `_over_time`."""

    @jax.jit
    def step(params, feature_BTD, time_BT, valid_BT):
        return _over_time(network, params, feature_BTD, time_BT, valid_BT, feature_BTD.shape[1])

    return step


def _over_time(network: Network, params, feature_BND, time_BT, valid_BT, steps: int):
    """(cls_BD, mean token_BD, token_BTD of each frame).

    Of a joint encoder, that is the mean over the patches of the one of `steps` tubelets that holds
    the frame. Tokens of padded frames mean nothing.
    """
    x_BND = network.embed_time(params, feature_BND, time_BT)
    cls_BD, token_BND = network.temporal(params, x_BND, valid_BT, train=False, key=None)
    weight_BN1 = network.keys(valid_BT)[..., None].astype(jnp.float32)
    token_BD = (token_BND * weight_BN1).sum(1) / jnp.maximum(weight_BN1.sum(1), 1)
    place_BtSD = token_BND.reshape(len(token_BND), steps, -1, token_BND.shape[-1])
    token_BTD = jnp.repeat(place_BtSD.mean(2), valid_BT.shape[1] // steps, axis=1)
    return tuple(a.astype(jnp.float32) for a in (cls_BD, token_BD, token_BTD))


@functools.cache
def clip_step(network: Network, side: int):
    """Compiled (params, extra, clip_BTHWC, time_BT, valid_BT) -> `_over_time`, of a joint one."""

    @jax.jit
    def step(params, extra, clip_BTHWC, time_BT, valid_BT):
        x_BND, _ = network.spatial(
            params, extra, resize(clip_BTHWC, side), valid_BT, train=False, key=None
        )
        return _over_time(network, params, x_BND, time_BT, valid_BT, network.grid[0])

    return step
