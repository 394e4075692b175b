"""What a step logs about embeddings: retrieval, true cosines, effective rank."""

import jax
import jax.numpy as jnp

from tvrl_jax.losses import cosine, masked_mean, similarity, wide


def hits(closer_N: jax.Array, tied_N: jax.Array, *, best: int) -> jax.Array:
    """Probability that the positive is among the `best` nearest keys when ties are drawn by lot.

    So an embedding that has collapsed to a point, where everything is tied, retrieves at chance
    and not perfectly.
    """
    return jnp.clip((best - closer_N) / (tied_N + 1), 0, 1)


def retrieval(closer_N: jax.Array, tied_N: jax.Array, valid_N: jax.Array) -> dict[str, jax.Array]:
    """top1, top5 (fractions of the valid queries) and mean_rank of the positive, 1 = nearest.

    `closer` and `tied` count the keys that are nearer than, or as near as, the positive.
    """
    return {
        "top1": masked_mean(hits(closer_N, tied_N, best=1), valid_N),
        "top5": masked_mean(hits(closer_N, tied_N, best=5), valid_N),
        "mean_rank": masked_mean(1 + closer_N + tied_N / 2, valid_N),
    }


def intra_cosine(first_BE: jax.Array, second_BE: jax.Array, valid_B: jax.Array) -> jax.Array:
    """Mean cosine of the two views of a series."""
    return masked_mean(cosine(first_BE, second_BE), valid_B)


def inter_cosine(
    first_BE: jax.Array, second_BE: jax.Array, subject_B: jax.Array, valid_B: jax.Array
) -> jax.Array:
    """Mean cosine of views of different subjects; 0 if the batch holds a single one."""
    other_BB = subject_B[:, None] != subject_B[None, :]
    counted_BB = other_BB & valid_B[:, None] & valid_B[None, :]
    return masked_mean(similarity(first_BE, second_BE), counted_BB)


def effective_rank(embedding_NE: jax.Array) -> jax.Array:
    """exp(entropy of the singular values' distribution) of an [N, E] matrix: 1 to min(N, E).

    Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
    The matrix is not centred: an embedding that has collapsed to a point has rank 1. A matrix of
    zeros has rank 1 too. Rows of zeros change nothing.
    """
    value_R = jnp.linalg.svd(wide(embedding_NE), compute_uv=False)
    p_R = value_R / jnp.maximum(jnp.sum(value_R), jnp.finfo(value_R.dtype).tiny)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p_R, p_R)))
