"""Cox's proportional hazards with a ridge penalty: every draw and strength in one program."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tvrl_jax.probing import heads, linear, newton, spectrum, survival
from tvrl_jax.probing.problem import Prediction, Problem, once, stacked

RANGE = 60.0  # of log hazards; exp(-RANGE) still is a float32


class Ties(NamedTuple):
    """Which series are at risk at which event, for rows in the order of time."""

    order_N: np.ndarray  # rows by duration
    first_N: np.ndarray  # first row of equal duration: from there on all were at risk
    event_N: np.ndarray  # float32, 1 = an event that counts
    used_N: np.ndarray  # float32
    share_N: np.ndarray  # float32: l / d of the l-th (0, 1, ...) of d events at one time


def fit(feature: dict, problem: Problem, *, strengths) -> list[Prediction]:
    """The strength with the least partial likelihood loss on validation.

    feature: split -> [N, D], standardised by the rows in use. strengths: s in
    -log(partial likelihood) + s / 2 |w|^2, ties by Efron (1977). Predictions: the log relative
    hazard as risk, and S(t) at the clock's times with `baseline` of the rows in use.
    """
    feature = linear.standardise(feature)
    strength_G = np.asarray(strengths, np.float32)
    target_MN2, val_MJ2 = problem.target_MN, problem.val_target_MJ
    draws = {
        "weight_MN": problem.weight_MN,
        "train": stacked(map(ties, target_MN2, problem.weight_MN)),
        "val": stacked(map(ties, val_MJ2, problem.val_weight_MJ)),
    }
    fit_each = functools.partial(
        _fit, feature["train"], feature["val"], strength_G=jnp.asarray(strength_G)
    )
    head_M, picked_M, loss_M = jax.device_get(once(fit_each, problem, draws))
    made = []
    for m, draw in enumerate(problem.draws):
        head = jax.tree.map(lambda a, m=m: a[m], head_M)
        score = {s: np.asarray(heads.apply(head, f))[:, 0] for s, f in feature.items()}
        outcome_N2 = target_MN2[m][problem.weight_MN[m] > 0]
        used_N = score["train"][problem.weight_MN[m] > 0]
        curve = baseline(outcome_N2, used_N)
        own_NK = predict(curve, score["test"], survival.times(draw.task.clock))
        choice = {"strength": float(strength_G[picked_M[m]]), "loss": float(loss_M[m])}
        made.append(Prediction(draw, own_NK, choice))
    return made


def ties(outcome_N2, weight_N) -> Ties:
    """Of the rows with weight 1."""
    event_N, time_N = outcome_N2[:, 0] * weight_N, outcome_N2[:, 1]
    order_N = np.argsort(time_N, kind="stable")
    event_N, time_N = event_N[order_N], time_N[order_N]
    first_N = np.searchsorted(time_N, time_N)
    before_N = np.cumsum(event_N) - event_N
    last_N = np.searchsorted(time_N, time_N, side="right") - 1
    total_N = (before_N + event_N)[last_N] - before_N[first_N]
    share_N = (before_N - before_N[first_N]) / np.maximum(total_N, 1)
    floats = (np.asarray(a, np.float32) for a in (event_N, weight_N[order_N], share_N))
    return Ties(order_N.astype(np.int32), first_N.astype(np.int32), *floats)


def loss(risk_N, at: Ties):
    """-log of Efron's partial likelihood, summed over the events.

    Risks more than RANGE below the highest count as if they were there, which keeps it finite.
    """
    risk_N = jnp.where(at.used_N > 0, risk_N[at.order_N], -jnp.inf)
    # The loss does not depend on what is subtracted, so it has no gradient; nor has anything else
    # here a kink where all risks are equal, for that is where every fit starts.
    top = jax.lax.stop_gradient(jnp.max(risk_N, initial=-jnp.inf))
    risk_N = jnp.maximum(jnp.where(at.used_N > 0, risk_N - top, 0), -RANGE)
    hazard_N = at.used_N * jnp.exp(risk_N)
    # From the end on: a late, small sum is not the difference of two large ones.
    whole_N = jax.lax.cumsum(hazard_N, reverse=True)[at.first_N]
    tied_N = jax.ops.segment_sum(at.event_N * hazard_N, at.first_N, len(risk_N))[at.first_N]
    left_N = jnp.where(at.event_N > 0, whole_N - at.share_N * tied_N, 1)
    return jnp.sum(at.event_N * (jnp.log(left_N) - risk_N))


@jax.jit
def _fit(feature_ND, val_JD, draws, strength_G):
    """The chosen head of every draw, the position of its strength, and its validation loss."""

    def one_draw(draw):
        basis = spectrum.decompose(feature_ND, draw["weight_MN"])
        own_JR = spectrum.project(basis, val_JD)
        of_draw = functools.partial(
            newton.minimise,
            lambda output_N1: loss(output_N1[:, 0], draw["train"]),
            basis,
            outputs=1,
            curvature=draw["train"].event_N.sum() / basis.rows,
            bias=False,
        )
        weights = jax.vmap(of_draw)(strength_G).weights
        events = jnp.maximum(draw["val"].event_N.sum(), 1)
        risk_GJ = (own_JR @ weights.kernel_RK)[..., 0]
        error_G = jax.vmap(loss, (0, None))(risk_GJ, draw["val"]) / events
        best = jnp.argmin(error_G)
        head = spectrum.head(basis, weights.kernel_RK[best], weights.bias_K[best])
        return head, best, error_G[best]

    return jax.lax.map(one_draw, draws)


def baseline(outcome_N2, risk_N) -> survival.Curve:
    """log of the cumulative hazard of a series with risk 0, at each event time.

    Efron's, as the likelihood is: the l-th (0, 1, ...) of d events at one time no longer meets
    l / d of their hazards. Of equal risks that is the estimate of Fleming and Harrington (1984).
    Breslow's has all d at risk to the last, so that where a third of the patients has the event at
    one visit S(t) comes out 0.05 too high. Without ties the two are one.
    """
    event_N, time_N = outcome_N2[:, 0] == 1, outcome_N2[:, 1]
    risk_N = risk_N.astype(np.float64)
    time_C, first_C, count_C = np.unique(
        np.sort(time_N[event_N]), return_index=True, return_counts=True
    )
    there_C = _total(risk_N, time_N >= time_C[:, None])
    tied_C = _total(risk_N, (time_N == time_C[:, None]) & event_N)
    place_E = np.repeat(np.arange(len(time_C)), count_C)
    share_E = (np.arange(len(place_E)) - first_C[place_E]) / count_C[place_E]
    gone_E = np.log1p(-share_E * np.exp(tied_C - there_C)[place_E])
    total_E = np.logaddexp.accumulate(-there_C[place_E] - gone_E)
    return survival.Curve(time_C, total_E[first_C + count_C - 1])


def _total(risk_N, member_CN) -> np.ndarray:
    """log of the sum of the members' hazards, [C]."""
    return np.logaddexp.reduce(np.where(member_CN, risk_N, -np.inf), axis=1)


def predict(curve: survival.Curve, risk_N, time_K) -> np.ndarray:
    """Risk and S(t) = exp(-H(t) exp(risk)) at the times, [N, 1 + K]."""
    place_K = np.searchsorted(curve.time_C, time_K, side="right")
    log_hazard_K = np.append(-np.inf, curve.value_C)[place_K]
    hazard_NK = np.exp(np.minimum(risk_N[:, None].astype(np.float64) + log_hazard_K, 700))
    return np.concatenate([risk_N[:, None], np.exp(-hazard_NK)], axis=1)
