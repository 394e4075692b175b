"""The same architecture before any learning: what the architecture alone gives."""

import jax

from tvrl_jax.probing import batchnorm
from tvrl_jax.probing.features import Encoder


def fresh(encoder: Encoder, *, seed: int) -> Encoder:
    """Newly drawn parameters and the initial BatchNorm statistics (mean 0, variance 1)."""
    params, extra = encoder.network.init(jax.random.key(seed))
    extra = batchnorm.of_encoder(extra)
    return encoder._replace(params={"encoder": params["encoder"]}, extra=extra)


def settled(encoder: Encoder, store, *, seed: int, batches: int, batch_size: int) -> Encoder:
    """`fresh`, with BatchNorm statistics of training clips (see `batchnorm.settle`): with the
    initial ones pretraining would be compared with a cripple."""
    made = fresh(encoder, seed=seed)
    return batchnorm.settle(made, store, seed=seed, batches=batches, batch_size=batch_size)
