"""What the loop works with."""

from pathlib import Path
from typing import NamedTuple

import jax

from tvrl_jax import step
from tvrl_jax.checkpoint import Checkpoints
from tvrl_jax.data.batch import Batch
from tvrl_jax.data.store import Store
from tvrl_jax.report.metricslog import MetricsLog
from tvrl_jax.report.progress import Progress
from tvrl_jax.signals import Interruption


class Run(NamedTuple):
    """One process's part in a pretraining."""

    learner: step.Learner
    store: Store
    folder: Path
    mesh: jax.sharding.Mesh
    checkpoints: Checkpoints
    log: MetricsLog
    progress: Progress
    interruption: Interruption


class Pending(NamedTuple):
    """A step whose numbers are fetched after the next one is under way."""

    number: int
    batch: Batch  # this process's rows, kept for the case that the loss is not finite
    scalars: dict[str, jax.Array]
    embedding_BVE: jax.Array
