"""Ridge regression, and logistic regression with the same penalty: every draw in one program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tvrl_jax import losses
from tvrl_jax.probing import heads, linear, newton, spectrum
from tvrl_jax.probing.problem import Prediction, Problem, once
from tvrl_jax.probing.spectrum import Spectrum

PER_DRAW = ("target_MN", "weight_MN", "val_target_MJ", "val_weight_MJ")


def fit(feature: dict, problem: Problem, *, strengths) -> list[Prediction]:
    """The strength with the least validation loss; features standardised by the rows in use.

    feature: split -> [N, D]. strengths: s in sum(loss) + s / 2 |w|^2, with half the squared error
    of the standardised target, or the cross-entropy of the classes: scikit-learn's `alpha` of
    Ridge and `1 / C` of LogisticRegression. The bias is free. Two classes are fitted by one
    logistic output.
    """
    feature = linear.standardise(feature)
    strength_G = np.asarray(strengths, np.float32)
    draws = {name: jnp.asarray(getattr(problem, name)) for name in PER_DRAW}
    fit_each = functools.partial(
        _fit,
        feature["train"],
        feature["val"],
        strength_G=jnp.asarray(strength_G),
        classes=problem.outputs if problem.kind == "classification" else 0,
    )
    head_M, picked_M, loss_M = once(fit_each, problem, draws)
    test_MNK = linear.predict(head_M, feature["test"], problem)
    return [
        Prediction(
            draw,
            test_MNK[m],
            {"strength": float(strength_G[picked_M[m]]), "loss": float(loss_M[m])},
        )
        for m, draw in enumerate(problem.draws)
    ]


@functools.partial(jax.jit, static_argnames="classes")
def _fit(feature_ND, val_JD, draws, strength_G, *, classes):
    """The chosen head of every draw, the position of its strength, and its validation loss."""
    paths = functools.partial(_logistic, classes=classes) if classes else _ridge
    loss = heads.loss("classification" if classes else "regression")

    def one_draw(draw):
        basis = spectrum.decompose(feature_ND, draw["weight_MN"])
        head_G = paths(basis, draw, strength_G)
        own_JR = spectrum.project(basis, val_JD)

        def error(head):
            value_J = loss(heads.apply(head, own_JR), draw["val_target_MJ"])
            return heads.mean(value_J, draw["val_weight_MJ"])

        error_G = jax.vmap(error)(head_G)
        best = jnp.argmin(error_G)
        head = jax.tree.map(lambda a: a[best], head_G)
        return spectrum.head(basis, head["kernel"], head["bias"]), best, error_G[best]

    # All strengths side by side, but draw after draw: on a CPU a batch of decompositions is slow.
    return jax.lax.map(one_draw, draws)


def _ridge(basis: Spectrum, draw: dict, strength_G) -> dict:
    """All strengths in closed form: in this basis the normal equations are diagonal."""
    mean = heads.mean(draw["target_MN"], draw["weight_MN"])
    slope_R = (draw["target_MN"] - mean) @ basis.row_NR
    kernel_GR = slope_R / (basis.size_R + strength_G[:, None])
    return {"kernel": kernel_GR[..., None], "bias": jnp.broadcast_to(mean, (len(strength_G), 1))}


def _logistic(basis: Spectrum, draw: dict, strength_G, *, classes: int) -> dict:
    """Newton's method for each strength. The Hessian of the cross-entropy is at most 1/4 X^T X
    for two classes and 1/2 X^T X for more (Boehning 1992)."""

    def total(output_NK):
        value_N = losses.cross_entropy(_widen(output_NK), draw["target_MN"])[0]
        return jnp.sum(value_N * draw["weight_MN"])

    outputs, bound = (1, 0.25) if classes == 2 else (classes, 0.5)
    fit = functools.partial(newton.minimise, total, basis, outputs=outputs, curvature=bound)
    kernel_GRK, bias_GK = jax.vmap(fit)(strength_G).weights
    return {"kernel": _widen(kernel_GRK), "bias": _widen(bias_GK)}


def _widen(output_K):
    """One logistic output as two of a softmax: that of the first class is 0."""
    if output_K.shape[-1] > 1:
        return output_K
    return jnp.concatenate([jnp.zeros_like(output_K), output_K], axis=-1)
