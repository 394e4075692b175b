"""Standardised training features of a draw in the basis in which a ridge penalty is diagonal."""

from typing import NamedTuple

import jax.numpy as jnp

from tvrl_jax.probing import linear


class Spectrum(NamedTuple):
    """X = row_NR basis_DR^T, standardised by the rows in use; R = min(N, D)."""

    row_NR: jnp.ndarray  # orthogonal columns; rows that are not in use are 0
    size_R: jnp.ndarray  # squared length of each column of row_NR
    basis_DR: jnp.ndarray
    mean_D: jnp.ndarray
    std_D: jnp.ndarray
    rows: jnp.ndarray  # in use


def decompose(feature_ND, weight_N) -> Spectrum:
    """Singular value decomposition of the rows in use (weight 1).

    Directions without variance among these rows, which rounding alone fills, become exactly 0:
    a weak penalty would divide that noise by almost nothing.
    """
    mean_D, std_D = linear.moments(feature_ND, weight_N)
    used_ND = weight_N[:, None] * (feature_ND - mean_D) / std_D
    left_NR, value_R, right_RD = jnp.linalg.svd(used_ND, full_matrices=False)
    noise = value_R[0] * max(feature_ND.shape) * jnp.finfo(value_R.dtype).eps
    value_R = jnp.where(value_R > noise, value_R, 0)
    return Spectrum(left_NR * value_R, value_R**2, right_RD.T, mean_D, std_D, weight_N.sum())


def project(spectrum: Spectrum, feature_JD):
    """Rows of another split in the same basis, [J, R]."""
    return (feature_JD - spectrum.mean_D) / spectrum.std_D @ spectrum.basis_DR


def head(spectrum: Spectrum, kernel_RK, bias_K) -> dict:
    """The head for features before the draw's standardisation (see `heads.apply`)."""
    standard = {"kernel": spectrum.basis_DR @ kernel_RK, "bias": bias_K}
    return linear.unscale(standard, spectrum.mean_D, spectrum.std_D)
