"""The encoder of a checkpoint, frozen."""

import logging

from ml_collections import ConfigDict

from tvrl_jax.checkpoint import Restored
from tvrl_jax.data import opening
from tvrl_jax.errors import UserError
from tvrl_jax.learner import find_objective, make_network
from tvrl_jax.probing import batchnorm
from tvrl_jax.probing.features import Encoder

LOG = logging.getLogger("tvrl_jax")
GROUPS = ("params", "extra", "ema")  # of a checkpoint: what an encoder is made of


def encoder(restored: Restored, pretraining: ConfigDict) -> Encoder:
    """The network of a checkpoint with its parameters (the averaged encoder, if there is one)."""
    network = make_network(pretraining, find_objective(pretraining), outputs=1)
    tree = restored.tree
    params = {"encoder": tree["ema"] or tree["params"]["encoder"]}
    return Encoder(network, params, batchnorm.of_encoder(tree["extra"]), pretraining)


def needs_times(encoder: Encoder, data: ConfigDict) -> bool:
    """Whether frames that all carry one time are to be refused; data: the section of who probes."""
    return encoder.config.model.time_embedding and data.on_equal_times == "stop"


def is_averaged(restored: Restored) -> bool:
    return bool(restored.tree["ema"])


def settled(averaged: Encoder, store, *, batches: int, batch_size: int) -> Encoder:
    """The averaged encoder with BatchNorm statistics of its own; see `batchnorm.settle`.

    Those of the run are of the learning encoder's activations, which are far from its own while
    the learning rate is high (by nearly their length, of a nano model at 2e-3).
    """
    if averaged.extra:
        LOG.info("BatchNorm of the averaged encoder: settled on images of the train split")
    sizes = dict(batches=batches, batch_size=batch_size)
    return batchnorm.settle(averaged, store, seed=averaged.config.seed, **sizes)


def settled_at_home(averaged: Encoder, **sizes: int) -> Encoder:
    """`settled` on the cohort of the run, so that the features of an image are the same whatever
    else is encoded. Raises UserError where that cohort is needed and has gone."""
    if not averaged.extra:
        return averaged
    try:
        store = opening.open_cohort(averaged.config.data)
    except UserError as error:
        raise UserError(
            f"the cohort of the run settles the averaged encoder's BatchNorm: {error}"
        ) from error
    return settled(averaged, store, **sizes)
