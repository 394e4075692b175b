"""Pretraining, from a configuration to a finished run folder."""

import logging
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from tvrl_jax import agreement, labels, roster, settings, sharding, step, tally
from tvrl_jax import state as states
from tvrl_jax.checkpoint import Checkpoints
from tvrl_jax.data import opening
from tvrl_jax.data.packing import Packing
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.data.store import Store, Unreadable
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder
from tvrl_jax.learner import find_objective, make_learner, make_network
from tvrl_jax.loop import loop
from tvrl_jax.objectives import Objective
from tvrl_jax.peers import ALONE, Alone
from tvrl_jax.report.metricslog import MetricsLog, NoLog
from tvrl_jax.report.progress import Progress
from tvrl_jax.run import Run
from tvrl_jax.signals import Interruption
from tvrl_jax.tally import Tally

LOG = logging.getLogger("tvrl_jax")


def train(config: ConfigDict, workdir: str, *, resume: bool = False, peers: Alone = ALONE) -> Path:
    """Pretrains as `config` says; continues where a run in `workdir` stopped.

    `peers`: the processes of the run, all of which call this with the same configuration.

    Returns the run folder.

    Raises:
      UserError: a setting, a file or the folder is not what it should be.
      SystemExit: 128 + n after signal n, with the state saved; where the data could not be read
        just then, an earlier one is the newest.
    """
    settings.agree(config, peers)
    objective = find_objective(config)
    settings.check(config)
    agreement.check(config, objective)
    sharding.check_batch_size(config.train.batch_size, config.train.micro_batches)
    run_folder.refuse_other(workdir, config, resume=resume)
    make_network(config, objective, outputs=1)  # what does not fit is said before hours of packing
    _warn_average(config)
    before = None
    while True:
        interruption = Interruption(config.train.grace, peers)
        try:
            _train(config, objective, Path(workdir), resume, interruption)
            return Path(workdir)
        except Unreadable as error:
            # One process alone may go on: of several, none knows what the others have read.
            if config.data.on_bad == "stop" or peers.count > 1 or str(error) == before:
                raise
            if interruption:  # the next round would know nothing of the signal
                LOG.warning("%s", error)
                interruption.leave()
            before = str(error)
            LOG.warning("%s It is tried now, from the last checkpoint.", error)


def _warn_average(config: ConfigDict) -> None:
    """Of an averaged encoder, which is what probes measure, that will hardly leave its start."""
    updates = config.train.steps // config.optim.accumulate
    span = 1 / (1 - config.train.ema)
    if config.train.ema and updates < 3 * span:
        LOG.warning(
            "config.train.ema = %g averages over some %.0f updates, and the run makes %d: much of "
            "the start is left in the encoder that probes measure; take a smaller decay.",
            *(config.train.ema, span, updates),
        )


def _train(
    config: ConfigDict,
    objective: Objective,
    folder: Path,
    resume: bool,
    interruption: Interruption,
) -> None:
    peers = interruption.peers
    began = roster.read(folder)
    store = peers.first(lambda: opening.open_cohort(config.data))
    may_shrink = resume or config.data.on_bad == "skip"
    store = roster.hold(folder, store, began, may_shrink=may_shrink, may_move=resume, peers=peers)
    agreement.check_cohort(config, objective, store)
    learner = labels.hold(folder, make_learner(config, objective, store), store)
    with interruption:
        _run(learner, store, began, folder, resume, interruption)


def _run(
    learner: step.Learner,
    store: Store,
    began: dict | None,
    folder: Path,
    resume: bool,
    interruption: Interruption,
) -> None:
    """Writes nothing before the state is made and what the folder holds is known to fit it."""
    config, is_main = learner.config, sharding.is_main_process()
    peers = interruption.peers
    mesh = sharding.make_mesh()
    peers.agree(None)
    sharding.connect(mesh)
    state = states.create_sharded(
        learner.network,
        learner.tx,
        seed=config.seed,
        ema=config.train.ema,
        mesh=mesh,
        kind=config.train.sharding,
    )
    _leave_early(interruption, 0)
    if is_main:
        run_folder.make(folder)
    with (
        run_folder.lock(folder) if is_main else nullcontext(),
        Checkpoints(
            folder / "checkpoints",
            keep=config.train.keep,
            best="loss",
            on_full=config.train.on_full,
            peers=peers,
        ) as checkpoints,
    ):
        if is_main:  # another run may have come and gone while this one was packing
            if not resume:
                run_folder.refuse_other(folder, config, resume=False)
            roster.refuse_other(folder, began)
        state, start, counts = _resume(checkpoints, state)
        if start > config.train.steps:
            raise UserError(
                f"config.train.steps = {config.train.steps}, but {folder} has done {start} steps "
                f"already; name at least {start}, or another --workdir."
            )
        if is_main:
            run_folder.prepare(folder, config)
            roster.write(folder, store)
            labels.write(folder, learner, store)
        if start >= config.train.steps:
            LOG.info("%s: all %d steps are done already.", folder, start)
            return
        if is_main:
            LOG.info("training on %d x %s", mesh.size, mesh.devices.flat[0].device_kind)
        clips = config.train.batch_size * learner.objective.views
        progress = Progress(config.train.steps, clips, start, silent=not is_main)
        with _log(config, folder, start) if is_main else NoLog() as log:
            run = Run(learner, store, folder, mesh, checkpoints, log, progress, interruption)
            _leave_early(interruption, start)
            progress.begin()
            loop(run, _batches(run, start), state, start, counts)


def _log(config: ConfigDict, folder: Path, start: int) -> MetricsLog:
    return MetricsLog(folder, config.log.tensorboard, start, config.train.on_full)


def _leave_early(interruption: Interruption, start: int) -> None:
    if interruption.stops_after(start):
        LOG.info("stopped by a signal before the first step; there was nothing to save")
        interruption.leave()


def _resume(checkpoints: Checkpoints, fresh: states.State):
    """The newest good checkpoint's state, its step and what had been counted; the `fresh` state is
    gone then: a device that holds one state for training need not hold two."""
    wanted = states.abstract(fresh)._asdict()
    if checkpoints.steps():
        jax.tree.map(lambda array: array.delete(), fresh)
    restored = checkpoints.restore_newest(wanted)
    if restored is None:
        return fresh, 0, Tally([], [])
    LOG.info("continuing from the checkpoint of step %d", restored.step)
    return states.State(**restored.tree), restored.step, tally.of_meta(restored.meta)


def _batches(run: Run, start: int):
    config = run.learner.config
    return train_batches(
        run.store,
        split="train",
        clips=config.clips,
        views=run.learner.objective.views,
        batch_size=config.train.batch_size,
        seed=config.seed,
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.data.threads,
        workers=config.data.workers,
        targets=_targets(run.learner, run.store),
        packing=_packing(run.learner),
    )


def _packing(learner: step.Learner) -> Packing | None:
    lengths, pieces = learner.config.train.capacities, learner.config.train.micro_batches
    if not lengths or "mae" in learner.objective.parts:
        return None
    return Packing(jax.device_count() * pieces, lengths, pieces)


def _targets(learner: step.Learner, store: Store) -> np.ndarray | None:
    if "head" not in learner.objective.parts:
        return None
    return store.targets()
