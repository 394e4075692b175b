"""What a learning rule is, and what it returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Outcome(NamedTuple):
    loss: jax.Array  # scalar
    metrics: dict[str, jax.Array]  # scalars to log
    extra: Any  # BatchNorm statistics after the step
    embedding_BVE: jax.Array | None  # None where no embeddings are compared


class Objective(NamedTuple):
    """A learning rule: its loss, and what it needs of the model and of the data.

    loss(network, params, extra, batch, key, progress, **config.objective) -> Outcome

    `batch` is augmented: clip_BVTHWC float in [0, 1] with V = views; rows with weight_B 0 do not
    count. `progress` in [0, 1] is the share of training done. A loss that compares embeddings also
    takes `tile`, which changes how it is computed and not what it is: see `losses.sup_con`.
    """

    loss: Callable[..., Outcome]
    parts: tuple[str, ...]  # heads that the model must have
    views: int  # augmented clips of a series
    windows: int  # windows of the series that the views come from
