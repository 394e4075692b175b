"""Synthetic cohorts with known truth, written as the files that real cohorts come in.

`cardiac.write` is the entry; docs/phantom_cardiac.md has the model, its equations and its limits.
Nothing here imports jax, so that worker processes start quickly.
"""
