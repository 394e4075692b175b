"""Losses: arrays in, one value per example out, and one `masked_mean` to average them.

Nothing here names a device. Under `jit` the arrays are global, so the contrastive loss compares
the whole batch whatever the number of devices. Reductions run in float32 or better.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

NEVER = -1e30  # a logit that takes no part; finite, so that no row can produce a NaN
COSINE_EPS = 1e-8  # shortest length that is divided by, as in the recorded reference


class Contrast(NamedTuple):
    """What each query of a contrastive comparison yields. All shapes [Q]."""

    loss: jax.Array
    closer: jax.Array  # keys that are strictly nearer to the query than its positive
    tied: jax.Array  # keys exactly as near as the positive, itself not counted


def wide(x: jax.Array) -> jax.Array:
    """At least float32, for sums over many terms."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def masked_mean(value: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of the values where the mask (bool or 0/1, same shape) is set; 0 where it never is.

    The divisor is floored at one element: an empty mask gives a zero loss and a zero gradient.
    """
    value, mask = wide(value), mask != 0
    return jnp.sum(jnp.where(mask, value, 0)) / jnp.maximum(jnp.sum(mask), 1).astype(value.dtype)


def _clamped_norm(x: jax.Array) -> jax.Array:
    """Length of the last axis (kept), at least 1e-8; the derivative is that of the bare length."""
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    # sqrt has no derivative at 0, so a vector of zeros takes the constant branch twice over.
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return norm + jax.lax.stop_gradient(jnp.maximum(norm, COSINE_EPS) - norm)


def unit(x: jax.Array) -> jax.Array:
    """Vectors of the last axis scaled to length 1; those shorter than 1e-8 are divided by 1e-8."""
    x = wide(x)
    return x / _clamped_norm(x)


def cosine(x: jax.Array, y: jax.Array) -> jax.Array:
    """Cosine similarity along the last axis, [...]."""
    return jnp.sum(unit(x) * unit(y), axis=-1)


def similarity(x_NE: jax.Array, y_ME: jax.Array) -> jax.Array:
    """Cosine of every pair, [N, M], as one matrix product."""
    # Full float32 products: a temperature of 0.1 multiplies bfloat16's error by ten.
    return jnp.matmul(unit(x_NE), unit(y_ME).T, precision=jax.lax.Precision.HIGHEST)


def contrast(
    query_QE: jax.Array,
    key_KE: jax.Array,
    own_Q: jax.Array,
    positive_Q: jax.Array,
    valid_K: jax.Array,
    *,
    temperature: float,
) -> Contrast:
    """InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) of queries against all keys.

    own_Q and positive_Q are the columns of the query itself (left out) and of its positive. Every
    row stands alone, so that blocks of queries can be computed one after another or on their own
    device; today one block holds them all.
    """
    column_K = jnp.arange(key_KE.shape[0])
    offered_QK = valid_K[None, :] & (column_K[None, :] != own_Q[:, None])
    logit_QK = jnp.where(offered_QK, similarity(query_QE, key_KE) / temperature, NEVER)
    positive_Q1 = jnp.take_along_axis(logit_QK, positive_Q[:, None], axis=1)
    rival_QK = offered_QK & (column_K[None, :] != positive_Q[:, None])
    return Contrast(
        loss=jax.nn.logsumexp(logit_QK, axis=1) - positive_Q1[:, 0],
        closer=jnp.sum(rival_QK & (logit_QK > positive_Q1), axis=1),
        tied=jnp.sum(rival_QK & (logit_QK == positive_Q1), axis=1),
    )


def info_nce(
    first_BE: jax.Array, second_BE: jax.Array, valid_B: jax.Array, *, temperature: float
) -> Contrast:
    """InfoNCE over the 2B embeddings of two views, in the order (first, second): shapes [2B].

    SimCLR's form (Chen et al. 2020, arXiv 2002.05709, eq. 1): cosine similarity, the other view of
    a series is the positive, the query itself is left out. Rows that are not valid take part
    neither as queries (leave them out of the mean) nor as keys.
    """
    batch = first_BE.shape[0]
    embedding_NE = jnp.concatenate([first_BE, second_BE])
    own_N = jnp.arange(2 * batch)
    return contrast(
        embedding_NE,
        embedding_NE,
        own_N,
        (own_N + batch) % (2 * batch),
        jnp.tile(valid_B, 2),
        temperature=temperature,
    )


def negative_cosine(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """-cos along the last axis, [...]."""
    return -cosine(prediction, target)


def smooth_l1(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Huber's loss with its corner at 1, mean over the last axis, [...]."""
    gap = jnp.abs(wide(prediction) - wide(target))
    return jnp.mean(jnp.where(gap < 1, 0.5 * gap**2, gap - 0.5), axis=-1)


def standardise(x: jax.Array, *, eps: float) -> jax.Array:
    """Zero mean and unit variance along the last axis: layer normalisation without parameters."""
    x = wide(x)
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + eps)


def patch_error(prediction_BNP: jax.Array, target_BNP: jax.Array) -> jax.Array:
    """Mean squared error of each patch, [B, N]."""
    return jnp.mean((wide(prediction_BNP) - wide(target_BNP)) ** 2, axis=-1)


def squared_error(prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared error per element and whether its target is known (not NaN); 0 where it is not."""
    known = ~jnp.isnan(target)
    # The target is replaced BEFORE the arithmetic: a NaN behind a `where` still spoils gradients.
    gap = wide(prediction) - jnp.where(known, target, 0)
    return jnp.where(known, gap**2, 0), known


def cross_entropy(logit_BK: jax.Array, target_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy [B] of class codes 0..K-1 and whether the code is known (not NaN)."""
    known_B = ~jnp.isnan(target_B)
    code_B = jnp.where(known_B, target_B, 0).astype(jnp.int32)
    log_p_BK = jax.nn.log_softmax(wide(logit_BK), axis=-1)
    loss_B = -jnp.take_along_axis(log_p_BK, code_B[:, None], axis=1)[:, 0]
    return jnp.where(known_B, loss_B, 0), known_B
