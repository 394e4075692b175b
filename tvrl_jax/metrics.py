"""What a step logs about embeddings: retrieval, true cosines, effective rank."""

import jax
import jax.numpy as jnp

from tvrl_jax.losses import Contrast, cosine, masked_mean, unit, wide


def hits(closer_N: jax.Array, tied_N: jax.Array, *, best: int) -> jax.Array:
    """Probability that the positive is among the `best` nearest keys when ties are drawn by lot.

    So an embedding that has collapsed to a point, where everything is tied, retrieves at chance
    and not perfectly. `closer` and `tied` count the keys that are nearer than, or as near as, the
    positive.
    """
    return jnp.clip((best - closer_N) / (tied_N + 1), 0, 1)


def retrieval(each: Contrast, valid_N: jax.Array) -> dict[str, jax.Array]:
    """top1, top5 (fractions of the valid queries) and mean_rank of the positive, 1 = nearest.

    NaN where an embedding is: nothing is nearer than NaN, and every query would have hit. The loss
    of a query tells, since it sums over all keys.
    """
    closer_N = jnp.where(jnp.isfinite(each.loss), each.closer, jnp.nan)
    return {
        "top1": masked_mean(hits(closer_N, each.tied, best=1), valid_N),
        "top5": masked_mean(hits(closer_N, each.tied, best=5), valid_N),
        "mean_rank": masked_mean(1 + closer_N + each.tied / 2, valid_N),
    }


def intra_cosine(first_BE: jax.Array, second_BE: jax.Array, valid_B: jax.Array) -> jax.Array:
    """Mean cosine of the two views of a series."""
    return masked_mean(cosine(first_BE, second_BE), valid_B)


def inter_cosine(
    first_BE: jax.Array, second_BE: jax.Array, subject_B: jax.Array, valid_B: jax.Array
) -> jax.Array:
    """Mean cosine of views of different subjects; 0 if the batch holds a single one.

    No pair is formed. With u_s and v_s the sums of subject s's unit vectors in the two views and
    n_s their number, the cosines sum to sum_s u_s . (sum_r v_r - v_s), and there are
    sum_s n_s (sum_r n_r - n_s) of them.
    """
    batch = len(subject_B)
    _, code_B = jnp.unique(subject_B, return_inverse=True, size=batch)

    def per_subject(x_BE):
        counted_BE = jnp.where(valid_B[:, None], x_BE, 0)
        return jax.ops.segment_sum(counted_BE, code_B, num_segments=batch)

    first_SE, second_SE = per_subject(unit(first_BE)), per_subject(unit(second_BE))
    # Counted in floating point: the pairs of a large batch are more than 2^31.
    count_S1 = per_subject(jnp.ones_like(first_SE[:, :1]))
    pairs = jnp.sum(count_S1 * (jnp.sum(count_S1) - count_S1))
    total = jnp.sum(first_SE * (jnp.sum(second_SE, axis=0) - second_SE))
    return jnp.where(pairs > 0, total / jnp.maximum(pairs, 1), 0)


def effective_rank(embedding_NE: jax.Array) -> jax.Array:
    """exp(entropy of the singular values' distribution) of an [N, E] matrix: 1 to min(N, E).

    Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
    The matrix is not centred: an embedding that has collapsed to a point has rank 1. A matrix of
    zeros has rank 1 too. Rows of zeros change nothing.
    """
    value_R = jnp.linalg.svd(wide(embedding_NE), compute_uv=False)
    p_R = value_R / jnp.maximum(jnp.sum(value_R), jnp.finfo(value_R.dtype).tiny)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p_R, p_R)))
