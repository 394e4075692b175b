"""Losses: arrays in, one value per example out, and one `masked_mean` to average them.

Nothing here names a device. Under `jit` the arrays are global, so the contrastive loss compares
the whole batch whatever the number of devices. Reductions run in float32 or better.
"""

from tvrl_jax.losses.angle import cosine, negative_cosine, unit
from tvrl_jax.losses.error import (
    cross_entropy,
    patch_error,
    smooth_l1,
    squared_error,
    standardise,
)
from tvrl_jax.losses.mean import masked_mean, wide
from tvrl_jax.losses.nce import contrast_views, info_nce, sup_con
from tvrl_jax.losses.rows import Contrast

__all__ = [
    "Contrast",
    "contrast_views",
    "cosine",
    "cross_entropy",
    "info_nce",
    "masked_mean",
    "negative_cosine",
    "patch_error",
    "smooth_l1",
    "squared_error",
    "standardise",
    "sup_con",
    "unit",
    "wide",
]
