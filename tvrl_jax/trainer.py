"""The training loop: data in, compiled steps, metrics and checkpoints out."""

import functools
import logging
import math
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from tvrl_jax import agreement, run_folder, settings, sharding, step
from tvrl_jax import state as states
from tvrl_jax.checkpoint import Checkpoints
from tvrl_jax.data import opening
from tvrl_jax.data.pack import Store
from tvrl_jax.data.packing import Packing
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.errors import UserError
from tvrl_jax.learner import find_objective, make_learner, make_network
from tvrl_jax.report.metricslog import MetricsLog
from tvrl_jax.report.progress import Progress
from tvrl_jax.signals import Interruption
from tvrl_jax.stopwatch import Stopwatch

LOG = logging.getLogger("tvrl_jax")

SAMPLES = 16  # augmented clips kept for the report


def train(config: ConfigDict, workdir: str, *, resume: bool = False) -> Path:
    """Pretrains as `config` says; continues where a run in `workdir` stopped.

    Returns the run folder.

    Raises:
      UserError: a setting, a file or the folder is not what it should be.
      SystemExit: 128 + n after signal n, with the state saved.
    """
    objective = find_objective(config)
    settings.check(config)
    agreement.check(config, objective)
    sharding.check_batch_size(config.train.batch_size)
    run_folder.refuse_other(workdir, config, resume=resume)
    make_network(config, objective, outputs=1)  # what does not fit is said before hours of packing
    store = opening.open_cohort(config.data)
    agreement.check_cohort(config, objective, store)
    learner = make_learner(config, objective, store)
    with Interruption() as interruption:
        _run(learner, store, Path(workdir), interruption)
    return Path(workdir)


class Run(NamedTuple):
    """What the loop works with."""

    learner: step.Learner
    store: Store
    folder: Path
    mesh: jax.sharding.Mesh
    checkpoints: Checkpoints
    log: MetricsLog
    progress: Progress
    interruption: Interruption


def _run(learner: step.Learner, store: Store, folder: Path, interruption: Interruption) -> None:
    """Writes nothing before the state is made and what the folder holds is known to fit it."""
    config = learner.config
    mesh = sharding.make_mesh()
    state = states.create_sharded(
        learner.network,
        learner.tx,
        seed=config.seed,
        ema=config.train.ema,
        mesh=mesh,
        kind=config.train.sharding,
    )
    _leave_early(interruption)
    run_folder.make(folder)
    with (
        run_folder.lock(folder) if sharding.is_main_process() else nullcontext(),
        Checkpoints(folder / "checkpoints", keep=config.train.keep, best="loss") as checkpoints,
    ):
        state, start, losses = _resume(checkpoints, state)
        run_folder.prepare(folder, config)
        if start >= config.train.steps:
            LOG.info("%s: all %d steps are done already.", folder, start)
            return
        clips = config.train.batch_size * learner.objective.views
        progress = Progress(config.train.steps, clips, start)
        with MetricsLog(folder, config.log.tensorboard, start) as log:
            run = Run(learner, store, folder, mesh, checkpoints, log, progress, interruption)
            _leave_early(interruption)
            progress.begin()
            _loop(run, state, start, losses)


def _leave_early(interruption: Interruption) -> None:
    if interruption:
        LOG.info("stopped by a signal before the first step; there was nothing to save")
        interruption.leave()


def _resume(checkpoints: Checkpoints, fresh: states.State):
    """The newest good checkpoint's state, its step and the losses since the one before it."""
    restored = checkpoints.restore_newest(states.abstract(fresh)._asdict())
    if restored is None:
        return fresh, 0, []
    LOG.info("continuing from the checkpoint of step %d", restored.step)
    return states.State(**restored.tree), restored.step, list(restored.meta["losses"])


def _loop(run: Run, state: states.State, start: int, losses: list[float]) -> None:
    """Steps until done or interrupted. `losses`: those since the last regular checkpoint."""
    config = run.learner.config
    compiled = _compile(run.learner, state)
    batches = _batches(run, start)
    watch = Stopwatch()
    pending = None  # the step whose numbers are fetched after the next one is under way
    try:
        with jax.set_mesh(run.mesh), jax.transfer_guard("disallow"):
            for number in range(start, config.train.steps):
                with watch.waiting():
                    batch = sharding.put(next(batches), run.mesh)
                if number == 0:
                    _save_samples(run, batch)
                diagnosed = _diagnose(run, state, batch, number)
                state, scalars, embedding = compiled(state, batch)
                watch.step()
                if pending:
                    _record(run, pending, losses, watch)
                pending = (number, {**scalars, **diagnosed}, embedding)
                if _is_regular(config, number + 1) or run.interruption:
                    _record(run, pending, losses, watch)
                    pending = None
                    _save(run, state, number + 1, losses)
                if run.interruption:
                    run.checkpoints.wait()
                    run.progress.message(f"stopped by a signal; step {number + 1} is saved")
                    run.interruption.leave()
    finally:
        run.progress.close()
        batches.close()


def _compile(learner: step.Learner, state: states.State):
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(
        functools.partial(step.train_step, learner),
        donate_argnums=0,
        out_shardings=(shardings, None, None),
    )


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
    lengths = learner.config.train.capacities
    if not lengths or "mae" in learner.objective.parts:
        return None
    return Packing(jax.device_count(), lengths)


def _targets(learner: step.Learner, store: Store) -> np.ndarray | None:
    if "head" not in learner.objective.parts:
        return None
    return opening.target_values(store, learner.config.data.targets)


def _is_regular(config, done: int) -> bool:
    return done % config.train.checkpoint_every == 0 or done == config.train.steps


def _record(run: Run, pending, losses: list[float], watch: Stopwatch) -> None:
    """Fetches a step's numbers, checks its loss and, when it is due, logs it."""
    number, scalars, embedding = pending
    config = run.learner.config
    loss = float(jax.device_get(scalars["loss"]))
    if not math.isfinite(loss):
        last = max(run.checkpoints.steps(), default=None)
        raise UserError(
            f"the loss of step {number} is {loss}; the last good checkpoint is that of "
            f"{f'step {last}' if last is not None else 'no step yet'} in {run.folder}. "
            "Try a lower optim.lr or optim.clip_norm = 1."
        )
    losses.append(loss)
    row = None
    if number % config.log.every == 0 or number + 1 == config.train.steps:
        clips = config.train.batch_size * run.learner.objective.views
        row = {k: float(v) for k, v in jax.device_get(scalars).items()} | watch.read(clips)
        if embedding.size:
            row["effective_rank"] = float(jax.device_get(_rank(embedding)))
        run.log.write(number, row)
    run.progress.update(number + 1, row)


_rank = jax.jit(step.embedding_rank)


def _diagnose(run: Run, state: states.State, batch: dict, number: int) -> dict[str, jax.Array]:
    """Retrieval from the timestamps alone, when it is due and the method compares views."""
    config = run.learner.config
    if number % config.log.diagnose_every or run.learner.objective.views < 2:
        return {}
    top1 = _blank(run.learner)(state, batch)
    return {"blank_top1": top1, "blank_chance": np.float32(1 / (2 * config.train.batch_size - 1))}


@functools.lru_cache(maxsize=1)
def _blank(learner: step.Learner):
    return jax.jit(functools.partial(step.blank_retrieval, learner))


def _save(run: Run, state: states.State, done: int, losses: list[float]) -> None:
    config = run.learner.config
    meta = {"config": settings.to_json(config), "losses": losses}
    mean = sum(losses) / len(losses)
    run.checkpoints.save(done, state._asdict(), meta, {"loss": mean})
    if _is_regular(config, done):
        losses.clear()


def _save_samples(run: Run, batch: dict) -> None:
    """A few augmented clips for the report."""
    with jax.transfer_guard("allow"):
        views = jax.jit(functools.partial(step.draw_views, run.learner))(batch, np.int32(0))
        clips = np.asarray(views["clip_BVTHWC"][:SAMPLES])
    if sharding.is_main_process():
        np.savez_compressed(run.folder / "samples.npz", augmented=(clips * 255).astype(np.uint8))
