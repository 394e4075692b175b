"""From a configuration to what is trained: the learning rule, the network and the optimiser."""

from ml_collections import ConfigDict, FrozenConfigDict

from tvrl_jax import optim, step
from tvrl_jax.data.store import Store
from tvrl_jax.errors import UserError, nearest
from tvrl_jax.models.build import Network, build
from tvrl_jax.objectives import OBJECTIVES, Objective, supervised


def find_objective(config: ConfigDict) -> Objective:
    if config.method not in OBJECTIVES:
        hint = nearest(config.method, OBJECTIVES)
        raise UserError(f'config.method = "{config.method}" is not known.{hint}')
    return OBJECTIVES[config.method]


def uses_times(config: ConfigDict, objective: Objective) -> bool:
    return config.model.time_embedding or "ltn" in objective.parts


def make_network(config: ConfigDict, objective: Objective, outputs: int) -> Network:
    """The encoder and what the objective needs besides; `outputs` numbers from the readout."""
    return build(
        frames=config.clips.frames,
        channels=config.data.channels,
        parts=objective.parts,
        outputs=outputs,
        **config.model,
    )


def make_learner(config: ConfigDict, objective: Objective, store: Store) -> step.Learner:
    """The network, the optimiser and the learning rule of one configuration."""
    rule = dict(config.objective)
    if "head" in objective.parts:
        train = store.targets()[store.split("train")]
        rule = supervised.constants(train, store.class_counts())
    network = make_network(config, objective, supervised.outputs(rule.get("classes", ())))
    tx, schedule = optim.make(
        steps=config.train.steps, batch_size=config.train.batch_size, **config.optim
    )
    frozen = FrozenConfigDict(config)
    return step.Learner(
        network, objective, FrozenConfigDict(rule), tx, schedule, frozen, config.seed
    )
