"""Synthetic cohorts with known truth, written as the files that real cohorts come in.

docs/phantom_cardiac.md and docs/phantom_retina.md have the models, their equations and their
limits. Nothing here imports jax, so that worker processes start quickly.
"""

from tvrl_jax.data.phantom.writing import write

__all__ = ["write"]
