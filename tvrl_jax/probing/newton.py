"""Minimum of a convex loss of linear outputs plus a ridge penalty: Newton's method in float32."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

from tvrl_jax.probing.spectrum import Spectrum

STEPS = 40  # most Newton steps; three to fifteen are usual
INNER = 30  # most conjugate-gradient steps in each
FORCING = 0.05  # relative residual at which a Newton direction is good enough
HALVINGS = 12  # of a step's length that are tried
STILL = 1e-6  # relative decrease of the objective below which float32 has no more to give


class Weights(NamedTuple):
    kernel_RK: jnp.ndarray  # in the basis of the draw
    bias_K: jnp.ndarray


class Fit(NamedTuple):
    weights: Weights
    output_NK: jnp.ndarray
    value: jnp.ndarray  # of the objective
    steps: jnp.ndarray  # STEPS = not converged
    moving: jnp.ndarray


def minimise(
    loss: Callable, basis: Spectrum, strength, *, outputs: int, curvature, bias: bool = True
) -> Fit:
    """argmin of loss(X w + b) + strength / 2 |w|^2; the bias is not penalised, or not there.

    loss: function of output_NK, convex and twice differentiable, whose second derivative is about
    `curvature` at most in each output. strength > 0. vmap serves many fits side by side.

    Directions come from conjugate gradients with the preconditioner 1 / (curvature X^T X +
    strength), which is diagonal in the basis. Outputs are linear in a step, so one product serves
    all step lengths. The longest one is taken that is as good as the best, so far as float32 can
    tell (STILL): under a strong penalty all are, and the whole step is the right one.
    """

    def value(weights: Weights, output_NK):
        return loss(output_NK) + strength / 2 * jnp.sum(weights.kernel_RK**2)

    def step(fit: Fit) -> Fit:
        way = _direction(loss, basis, strength, curvature, bias, fit)
        way_NK = _outputs(basis, way)

        def at(length):
            weights = jax.tree.map(lambda a, b: a + length * b, fit.weights, way)
            return weights, value(weights, fit.output_NK + length * way_NK)

        length_L = jnp.append(0.5 ** jnp.arange(HALVINGS + 1), 0.0)
        value_L = jax.vmap(lambda length: at(length)[1])(length_L)
        least = jnp.nanmin(value_L)
        weights, now = at(length_L[jnp.argmax(value_L <= least + STILL * jnp.abs(least))])
        moving = fit.value - now > STILL * jnp.abs(fit.value)
        return Fit(weights, _outputs(basis, weights), now, fit.steps + 1, moving)

    zero = Weights(jnp.zeros((len(basis.size_R), outputs)), jnp.zeros(outputs))
    zero_NK = _outputs(basis, zero)
    start = Fit(zero, zero_NK, value(zero, zero_NK), jnp.int32(0), jnp.bool_(True))
    return jax.lax.while_loop(lambda fit: fit.moving & (fit.steps < STEPS), step, start)


def _outputs(basis: Spectrum, weights: Weights):
    return basis.row_NR @ weights.kernel_RK + weights.bias_K


def _direction(loss, basis: Spectrum, strength, curvature, bias: bool, fit: Fit) -> Weights:
    """Newton's direction, to the precision that is worth having."""
    slope_NK, curve = jax.linearize(jax.grad(loss), fit.output_NK)

    def back(change_NK, weights: Weights) -> Weights:
        kernel_RK = basis.row_NR.T @ change_NK + strength * weights.kernel_RK
        return Weights(kernel_RK, bias * change_NK.sum(0))

    def hessian(way: Weights) -> Weights:
        return back(curve(_outputs(basis, way)), way)

    def precondition(way: Weights) -> Weights:
        scale_R1 = (curvature * basis.size_R + strength)[:, None]
        return Weights(way.kernel_RK / scale_R1, way.bias_K / (curvature * basis.rows))

    down = jax.tree.map(jnp.negative, back(slope_NK, fit.weights))
    return cg(hessian, down, tol=FORCING, maxiter=INNER, M=precondition)[0]
