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
    count. With micro-batches clip_BVTHWC is what clips are drawn from, an `augment.Source`, which
    only the network can read. `progress` in [0, 1] is the share of training done.

    A loss with the part "projection" also takes `tile`, which changes how it is computed and not
    what it is (see `losses.sup_con`). One of two views or more logs `top1`, how often a view finds
    the other one, and `inter_cosine`, between patients (`tvrl_jax.metrics`): training asks the
    first, and `probe_temporal` both, whether the clock was learned.
    """

    loss: Callable[..., Outcome]
    parts: tuple[str, ...]  # heads that the model must have
    views: int  # augmented clips of a series
    windows: int  # windows of the series that the views come from
