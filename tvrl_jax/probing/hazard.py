"""Discrete-time hazards: one penalised logistic output per interval between event times."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tvrl_jax.probing import heads, linear, newton, spectrum, survival
from tvrl_jax.probing.problem import Prediction, Problem, once, stacked


class Table(NamedTuple):
    """Series x intervals."""

    hit_NB: np.ndarray  # float32, 1 = the event fell into the interval
    seen_NB: np.ndarray  # float32, share of the interval under observation; 1 where the event fell


def fit(feature: dict, problem: Problem, *, strengths, bins: int) -> list[Prediction]:
    """The strength with the least negative log-likelihood on validation.

    feature: split -> [N, D], standardised by the rows in use. Interval b has the hazard
    sigmoid(x w_b + c_b) of an event in it, given none before (Cox 1972, section 6; Gensheimer and
    Narasimhan 2019), and weights of its own, so that hazards need not be proportional. strengths:
    s in -log(likelihood) + s / 2 |w|^2, one for all intervals. Within an interval the hazard is
    constant: who was censored after a share of it counts with (1 - hazard)^share. Predictions: S(t)
    at the clock's times, with no hazard after the last interval; the risk is that of `risk`.
    """
    feature = linear.standardise(feature)
    strength_G = np.asarray(strengths, np.float32)
    edge_MB = np.stack(
        [
            edges(target_N2[weight_N > 0], bins)
            for target_N2, weight_N in zip(problem.target_MN, problem.weight_MN, strict=True)
        ]
    )
    draws = {
        "weight_MN": problem.weight_MN,
        "train": stacked(map(table, problem.target_MN, problem.weight_MN, edge_MB)),
        "val": stacked(map(table, problem.val_target_MJ, problem.val_weight_MJ, edge_MB)),
    }
    fit_each = functools.partial(
        _fit, feature["train"], feature["val"], strength_G=jnp.asarray(strength_G), bins=bins
    )
    head_M, picked_M, loss_M = once(fit_each, problem, draws)
    output_MNB = np.asarray(jax.vmap(heads.apply, (0, None))(head_M, feature["test"]))
    return [
        Prediction(
            draw,
            predict(edge_MB[m], output_MNB[m], draw.task.clock),
            {"strength": float(strength_G[picked_M[m]]), "loss": float(loss_M[m])},
        )
        for m, draw in enumerate(problem.draws)
    ]


def edges(outcome_N2, bins: int) -> np.ndarray:
    """Ends of the intervals (b - 1, b], [bins]: quantiles of the event times, among these times.

    Every interval holds an event. Where there are fewer event times than intervals, the rest are
    empty, and inf.
    """
    time_E = outcome_N2[outcome_N2[:, 0] == 1, 1].astype(np.float64)
    quantile_B = np.arange(1, bins + 1) / bins
    found = np.unique(np.quantile(time_E, quantile_B, method="inverted_cdf"))
    return np.concatenate([found, np.full(bins - len(found), np.inf)])


def table(outcome_N2, weight_N, edge_B) -> Table:
    """Of the rows with weight 1.

    Whoever was censored within an interval was at risk for a part of it. Left out, they would make
    its hazard too high: in a late interval nearly all others may have been censored.
    """
    event_N1, time_N1 = outcome_N2[:, :1] == 1, outcome_N2[:, 1:].astype(np.float64)
    real_B = np.isfinite(edge_B)
    start_B = np.where(real_B, _starts(edge_B), 0)
    hit_NB = event_N1 & (time_N1 > start_B) & (time_N1 <= edge_B) & real_B
    share_NB = np.clip((time_N1 - start_B) / (edge_B - start_B), 0, 1)
    seen_NB = np.where(hit_NB, 1, share_NB) * (weight_N[:, None] > 0)
    return Table(hit_NB.astype(np.float32), seen_NB.astype(np.float32))


def _starts(edge_B) -> np.ndarray:
    """The first interval begins at 0, and includes it."""
    return np.concatenate([[min(0.0, edge_B[0]) - 1e-9], edge_B[:-1]])


def loss(output_NB, seen: Table):
    """-log of the likelihood, summed over series and intervals."""
    return jnp.sum(seen.seen_NB * (jax.nn.softplus(output_NB) - seen.hit_NB * output_NB))


@functools.partial(jax.jit, static_argnames="bins")
def _fit(feature_ND, val_JD, draws, strength_G, *, bins):
    """The chosen head of every draw, the position of its strength, and its validation loss."""

    def one_draw(draw):
        basis = spectrum.decompose(feature_ND, draw["weight_MN"])
        own_JR = spectrum.project(basis, val_JD)
        of_draw = functools.partial(
            newton.minimise,
            lambda output_NB: loss(output_NB, draw["train"]),
            basis,
            outputs=bins,
            curvature=0.25,
        )
        weights = jax.vmap(of_draw)(strength_G).weights
        output_GJB = own_JR @ weights.kernel_RK + weights.bias_K[:, None]
        error_G = jax.vmap(loss, (0, None))(output_GJB, draw["val"]) / len(own_JR)
        best = jnp.argmin(error_G)
        head = spectrum.head(basis, weights.kernel_RK[best], weights.bias_K[best])
        return head, best, error_G[best]

    return jax.lax.map(one_draw, draws)


def predict(edge_B, output_NB, clock: survival.Clock) -> np.ndarray:
    """Risk and S(t) at the clock's times, [N, 1 + K]."""
    real = np.isfinite(edge_B)
    step_NB = -np.logaddexp(0, output_NB[:, real].astype(np.float64))
    log_survival_NB = np.cumsum(step_NB, axis=1)
    end_B = np.append(_starts(edge_B)[0], edge_B[real])
    time_K = survival.times(clock)
    log_NK = np.array([np.interp(time_K, end_B, np.append(0.0, row)) for row in log_survival_NB])
    risk_N = risk(log_NK[:, len(clock.horizon_H) :])
    return np.concatenate([risk_N[:, None], np.exp(log_NK)], axis=1)


def risk(log_NG) -> np.ndarray:
    """log of the odds of the share of the time up to the last horizon that is lost, 1 - mean S(t),
    [N], from log S(t) on the even grid.

    The share itself is exactly 0 or 1 where a series is sure to be free of the event, or to have it
    at once: such series would tie.
    """
    lost_N = -np.expm1(log_NG).mean(1)
    log_lost_N = np.log(np.maximum(lost_N, np.finfo(float).tiny))
    return log_lost_N - (np.logaddexp.reduce(log_NG, axis=1) - np.log(log_NG.shape[1]))
