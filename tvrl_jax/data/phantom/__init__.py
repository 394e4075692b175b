"""Synthetic cohorts with known truth, written as the files that real cohorts come in.

docs/phantom_cardiac.md has the model, its equations and its limits. Nothing here imports jax, so
that worker processes start quickly.
"""

from tvrl_jax.data.phantom.cardiac import write

__all__ = ["write"]
