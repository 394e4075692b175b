"""A network of a few operations with the interface of the real one, so that it compiles at once.

The spatial part has BatchNorm statistics that move in train mode, the temporal one a CLS token
that attends to the frames; parameters lie where the real ones do.
"""

from pathlib import Path

import jax
import jax.numpy as jnp

from configs import base
from tests import tiny
from tvrl_jax.models.build import Network
from tvrl_jax.probing.features import Encoder

POOL, WIDTH = 8, 24


def encoder(root: Path) -> Encoder:
    """As from a pretraining by tvrl on the tiny cohort in `root`, at its start."""
    config = tiny.shrink(base.get_config(), root)
    config.method = "tvrl"
    network = make(frames=4, side=tiny.SIZE)
    return Encoder(network, *network.init(jax.random.key(0)), config)


def make(frames: int, side: int) -> Network:
    tokens = (side // POOL) ** 2

    def init(key):
        keys = jax.random.split(key, 4)
        spatial = jax.random.normal(keys[0], (tokens, WIDTH)) / tokens**0.5
        embed = jax.random.normal(keys[1], (WIDTH,))
        mix = jax.random.normal(keys[2], (WIDTH, WIDTH)) / WIDTH**0.5
        cls = 0.1 * jax.random.normal(keys[3], (WIDTH,))
        groups = {"spatial": {"kernel": spatial}, "embed": {"time": embed}}
        groups["temporal"] = {"cls": cls, "mix": mix}
        statistics = {"mean": jnp.zeros(WIDTH), "var": jnp.ones(WIDTH)}
        return {"encoder": groups}, {"encoder": {"spatial": statistics}}

    return Network(
        init=jax.jit(init),
        spatial=_spatial,
        embed_time=_embed_time,
        temporal=_temporal,
        keys=lambda valid_BT: valid_BT,
        **dict.fromkeys(
            (
                "norms",
                "reconstruction_error",
                "project",
                "predict",
                "mask_token",
                "shift",
                "reconstruct",
                "head",
            )
        ),
        grid=(frames, 1, 1),
        width=WIDTH,
    )


def _spatial(params, extra, clip_BTHWC, valid_BT, *, train, key):
    B, T, H, W, _ = clip_BTHWC.shape
    pooled = clip_BTHWC.reshape(B, T, H // POOL, POOL, W // POOL, POOL, -1).mean((3, 5, 6))
    x_BTD = pooled.reshape(B, T, -1) @ params["encoder"]["spatial"]["kernel"]
    old = extra["encoder"]["spatial"]
    used = old
    if train:
        used = {"mean": x_BTD.mean((0, 1)), "var": x_BTD.var((0, 1))}
        moved = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, old, used)
        extra = {**extra, "encoder": {**extra["encoder"], "spatial": moved}}
    return jnp.tanh((x_BTD - used["mean"]) / jnp.sqrt(used["var"] + 1e-5)), extra


def _embed_time(params, feature_BTD, time_BT):
    return feature_BTD + jnp.sin(time_BT[..., None] * params["encoder"]["embed"]["time"])


def _temporal(params, x_BTD, key_mask_BT, *, train, key, causal=False, rows=None):
    cls_D, mix = params["encoder"]["temporal"]["cls"], params["encoder"]["temporal"]["mix"]
    token_BTD = jnp.tanh(x_BTD @ mix)
    score_BT = jnp.where(key_mask_BT, x_BTD @ cls_D, -1e9)
    return jnp.einsum("bt,btd->bd", jax.nn.softmax(score_BT), token_BTD) + cls_D, token_BTD
