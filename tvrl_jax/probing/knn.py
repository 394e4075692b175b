"""Nearest neighbours by cosine: nothing is learned, only k is chosen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tvrl_jax.probing import linear
from tvrl_jax.probing.problem import Prediction, Problem, once


def fit(feature: dict, problem: Problem, *, ks, temperature: float) -> list[Prediction]:
    """Mean of the k nearest labels, weighted exp(cosine / temperature); k by validation.

    Features are centred by the training rows in use: the cosines of raw features are all near 1.
    The validation error is the squared one, of the value or of the class probabilities. k larger
    than the number of rows in use means all of them; of rows that are equally near as the k-th, the
    first ones count (features that have collapsed are all equally near). (Wu et al. 2018, section
    3.4.)
    """
    fit_each = functools.partial(
        _fit,
        *(jnp.asarray(feature[split]) for split in ("train", "val", "test")),
        temperature=temperature,
        ks=tuple(ks),
        classes=problem.outputs if problem.kind == "classification" else 0,
    )
    draws = {name: jnp.asarray(getattr(problem, name)) for name in linear.PER_DRAW}
    chosen, val_error_M, (total_MNK, share_MN1) = once(fit_each, problem, draws)
    if problem.kind == "regression":
        test_MNK = np.asarray(total_MNK / share_MN1)
        test_MNK = test_MNK * problem.spread_M[:, None, None] + problem.centre_M[:, None, None]
    else:  # float64, as of every head: where all neighbours but a far one agree, 1 is no tie
        test_MNK = np.asarray(total_MNK, np.float64)
        test_MNK = test_MNK / test_MNK.sum(-1, keepdims=True)
    return [
        Prediction(draw, test_MNK[m], {"k": ks[int(chosen[m])], "loss": float(val_error_M[m])})
        for m, draw in enumerate(problem.draws)
    ]


@functools.partial(jax.jit, static_argnames=("ks", "classes"))
def _fit(train_ND, val_JD, test_QD, draws, temperature, *, ks, classes):
    def one_draw(draw):
        label_NK = _encode(draw["target_MN"], classes)
        mean_D = draw["weight_MN"] @ train_ND / draw["weight_MN"].sum()

        def vote(query_QD):
            query_QD, key_ND = query_QD - mean_D, train_ND - mean_D
            return _vote(query_QD, key_ND, label_NK, draw["weight_MN"], temperature, ks)

        total_SJK, share_SJ1 = vote(val_JD)
        wanted_JK = _encode(draw["val_target_MJ"], classes)
        error_SJ = jnp.sum((total_SJK / share_SJ1 - wanted_JK) ** 2, -1)
        error_S = error_SJ @ draw["val_weight_MJ"] / draw["val_weight_MJ"].sum()
        best = jnp.argmin(error_S)
        return best, error_S[best], tuple(each[best] for each in vote(test_QD))

    return jax.lax.map(one_draw, draws)


def _encode(target_N, classes: int):
    code = jax.nn.one_hot(target_N.astype(jnp.int32), classes)
    return code if classes else target_N[:, None]


def _vote(query_QD, train_ND, label_NK, weight_N, temperature, ks):
    """Weighted sum of the labels, and of the weights, for each k: [S, Q, K], [S, Q, 1]."""
    cosine_QN = _unit(query_QD) @ _unit(train_ND).T
    cosine_QN = jnp.where(weight_N > 0, cosine_QN, -jnp.inf)
    top_Qk, index_Qk = jax.lax.top_k(cosine_QN, min(max(ks), len(weight_N)))
    weight_Qk = jnp.exp((top_Qk - top_Qk[:, :1]) / temperature)
    total_QkK = jnp.cumsum(weight_Qk[..., None] * label_NK[index_Qk], axis=1)
    share_Qk = jnp.cumsum(weight_Qk, axis=1)
    last = [min(k, top_Qk.shape[1]) - 1 for k in ks]
    each = (total_QkK, share_Qk[..., None])
    return tuple(jnp.stack([a[:, i] for i in last]) for a in each)


def _unit(feature_ND):
    return feature_ND / jnp.maximum(jnp.linalg.norm(feature_ND, axis=-1, keepdims=True), 1e-9)
