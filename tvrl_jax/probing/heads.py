"""The linear head that every probe ends in, and the loss it is trained by."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from tvrl_jax import losses


def init(key, width: int, outputs: int) -> dict:
    """U(+-1/sqrt(width)) for both, as the heads of the networks."""
    limit = width**-0.5
    weight, bias = jax.random.split(key)
    return {
        "kernel": jax.random.uniform(weight, (width, outputs), minval=-limit, maxval=limit),
        "bias": jax.random.uniform(bias, (outputs,), minval=-limit, maxval=limit),
    }


def apply(head: dict, feature_BD):
    return feature_BD @ head["kernel"] + head["bias"]


def loss(kind: str):
    """Function(output_BK, target_B) -> loss_B: squared error, or cross-entropy of a class code."""
    return {"regression": _squared_error, "classification": _cross_entropy}[kind]


def _squared_error(output_BK, target_B):
    return losses.squared_error(output_BK[:, 0], target_B)[0]


def _cross_entropy(output_BK, target_B):
    return losses.cross_entropy(output_BK, target_B)[0]


def mean(value_B, weight_B):
    """Weighted mean; 0 when no row counts."""
    return jnp.sum(value_B * weight_B) / jnp.maximum(jnp.sum(weight_B), 1e-9)


def decode(kind: str, output_BK: np.ndarray, centre, spread) -> np.ndarray:
    """What is reported: class probabilities, or the value in the target's unit.

    Probabilities are float64: in float32 those of a head that is sure, or that hardly tells its
    series apart, would round to ties, and an AUROC ranks them.
    """
    if kind == "classification":
        return softmax(np.asarray(output_BK, np.float64), axis=-1)
    return np.asarray(output_BK) * spread + centre
