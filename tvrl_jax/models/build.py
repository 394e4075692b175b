"""From a configuration to a network: plain functions of parameters and arrays."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tvrl_jax.errors import UserError, nearest
from tvrl_jax.losses import patch_error
from tvrl_jax.models import encoder, heads, sizes, videomae
from tvrl_jax.models.part import Part, apply, initialise

PARTS = ("projection", "token", "ltn", "mae", "head")


class Network(NamedTuple):
    """Functions of `params` and `extra` (BatchNorm statistics; `{}` where there are none).

    `key` is for dropout and stochastic depth: one, or one for each row [B], which then draws the
    same wherever it is computed; None, or train=False, means neither. Eval mode
    returns `extra` itself. Everything that comes out is at least float32. The groups of `params`:
    "encoder", and one for each part. A function whose part was not built raises ValueError.
    """

    init: Callable  # key -> (params, extra)
    spatial: Callable  # (params, extra, clip_BTHWC in [0,1], valid_BT, packed_GC=None, *,
    #                    train, key) -> (feature_BND, extra); N = T, or for a joint encoder its
    #                    tubelets; with packed_GC (models/packing.py) only those frames are computed
    norms: encoder.BatchNorms | None  # of the spatial encoder; None where it has none
    embed_time: Callable  # (params, feature_BND, time_BT) -> x_BND
    temporal: Callable  # (params, x_BND, key_mask_BT, *, train, key, causal=False, rows=None)
    #                     -> (cls_BD, token_BND); causal: no CLS, and no row sees later ones;
    #                     rows=1: only CLS, and no work is done for the tokens of the last block
    keys: Callable  # valid_BT -> valid_BN: which rows of token_BND are not padding
    project: Callable  # (params, extra, cls_BD, counted_B=None, *, train) -> (embedding_BE, extra)
    predict: Callable  # (params, token_BTD) -> prediction_BTD
    mask_token: Callable  # params -> [D]
    shift: Callable  # (params, feature_BD, dt_B) -> feature_BD
    reconstruct: Callable  # (params, clip_BTHWC, valid_BT, noise_BN, kept_B, *, keep, train, key)
    #                        -> (prediction_BNP, target_BNP, counted_BNP); keep: the most of kept_B
    reconstruction_error: Callable  # arguments of `reconstruct` -> (error_BN, counted_BN)
    head: Callable  # (params, cls_BD) -> [B,K]
    grid: tuple[int, int, int]  # VideoMAE: tokens along time, rows, columns
    width: int  # D of cls and token


def build(*, frames: int, channels: int, parts=(), outputs: int = 0, **model) -> Network:
    """The network of `config.model`, with the heads named in `parts`.

    "mae" among the parts makes the encoder a joint one: a single transformer over the tubelets of
    a clip. `outputs` is the number of targets of the part "head".
    Raises UserError for sizes that do not fit.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise UserError(f'There is no model part "{unknown[0]}".{nearest(unknown[0], PARTS)}')
    settings = sizes.check(frames=frames, channels=channels, **model)
    make = encoder.joint if "mae" in parts else encoder.factorised
    stack = make(settings)
    built = _heads(settings, stack.width, parts, outputs)
    mae = _decoder(settings, stack.grid) if "mae" in parts else None
    reconstruct = _reconstruct(stack, mae, settings) if mae else _absent("mae")
    everything = [*stack.parts, *built.values(), *([mae] if mae else [])]
    return Network(
        init=jax.jit(lambda key: initialise(everything, key)),
        spatial=stack.spatial,
        norms=stack.norms,
        embed_time=stack.embed_time,
        temporal=stack.temporal,
        keys=stack.keys,
        **_head_functions(built),
        reconstruct=reconstruct,
        reconstruction_error=functools.partial(_reconstruction_error, reconstruct),
        grid=stack.grid,
        width=stack.width,
    )


def _heads(m, width: int, parts, outputs: int) -> dict[str, Part]:
    """The heads asked for, by name."""
    dtype, cls, dt = sizes.DTYPES[m.dtype], jnp.zeros((1, width)), jnp.zeros(1)
    projection = heads.Projection(m.head_hidden, m.head_width, m.head_norm, dtype)
    shift = heads.TimeShift(m.head_hidden, m.max_period, dtype)
    known = {
        "projection": Part(("projection",), projection, (cls,), {"train": False}),
        "token": Part(("token",), heads.TokenHead(m.head_hidden, dtype), (cls[None],), {}),
        "ltn": Part(("ltn",), shift, (cls, dt), {}),
        "head": Part(("head",), heads.Readout(outputs, dtype), (cls,), {}),
    }
    return {name: part for name, part in known.items() if name in parts}


def _head_functions(built: dict[str, Part]) -> dict[str, Callable]:
    def project(params, extra, cls_BD, counted_B=None, *, train):
        return apply(built["projection"], params, extra, cls_BD, counted_B, train=train)

    def predict(params, token_BTD):
        return apply(built["token"], params, {}, token_BTD)[0]

    def mask_token(params):
        return params["token"]["mask"]

    def shift(params, feature_BD, dt_B):
        return apply(built["ltn"], params, {}, feature_BD, dt_B)[0]

    def head(params, cls_BD):
        return apply(built["head"], params, {}, cls_BD)[0]

    of_part = {
        "projection": {"project": project},
        "token": {"predict": predict, "mask_token": mask_token},
        "ltn": {"shift": shift},
        "head": {"head": head},
    }
    return {
        name: function if part in built else _absent(part)
        for part, functions in of_part.items()
        for name, function in functions.items()
    }


def _absent(name: str) -> Callable:
    def call(*args, **kwargs):
        raise ValueError(f'The network was built without "{name}": name it among its parts.')

    return call


def _decoder(m, grid) -> Part:
    N, values = math.prod(grid), m.tubelet * m.patch_size**2 * m.channels
    module = videomae.Decoder(
        m.decoder_width, m.decoder_depth, m.decoder_heads, grid, values, m.remat,
        sizes.DTYPES[m.dtype],
    )  # fmt: skip
    width = sizes.SIZES[m.arch].width
    every = jnp.ones((1, N), bool)
    example = (jnp.zeros((1, 2, width)), jnp.zeros((1, N), jnp.int32), every, every)
    return Part(("mae",), module, example, {"size": grid, "key": None})


def _reconstruct(stack, decoder: Part, m) -> Callable:
    def reconstruct(params, clip_BTHWC, valid_BT, noise_BN, kept_B, *, keep, train, key):
        """Predictions and targets of all values, and which count: removed, and of real frames."""
        valid_BN = stack.keys(valid_BT)
        ids_BK, place_BN = videomae.split(noise_BN, valid_BN, keep)
        seen_BN = valid_BN & (place_BN < kept_B[:, None])
        token_BND, _ = stack.spatial(params, {}, clip_BTHWC, valid_BT, train=train, key=None)
        visible_BKD = jnp.take_along_axis(token_BND, ids_BK[..., None], axis=1)
        seen_BK = jnp.take_along_axis(seen_BN, ids_BK, axis=1)
        latent_BKD = stack.encode(params, visible_BKD, seen_BK, train=train, key=key)
        patch = (m.tubelet, m.patch_size, m.patch_size)
        size = tuple(n // p for n, p in zip(clip_BTHWC.shape[1:4], patch, strict=True))
        known = place_BN, seen_BN
        out, _ = apply(decoder, params, {}, latent_BKD, *known, valid_BN, size=size, key=None)
        real_BNP = videomae.of_frames(valid_BT, size, out.shape[-1] // m.tubelet)
        image = (clip_BTHWC - m.input_mean) / m.input_std
        target = videomae.normalised_patches(image, patch, real_BNP)
        return out, target, real_BNP & ~seen_BN[..., None]

    return reconstruct


def _reconstruction_error(reconstruct: Callable, *args, **kwargs):
    """Mean squared error of every patch, over its values that count, and which patches have any."""
    prediction_BNP, target_BNP, counted_BNP = reconstruct(*args, **kwargs)
    return patch_error(prediction_BNP, target_BNP, counted_BNP), counted_BNP.any(-1)
