"""Steps, one after another: data in, metrics and checkpoints out."""

import functools
import logging
import math
from collections.abc import Iterator

import jax
import numpy as np

from tvrl_jax import guard, mishap, settings, sharding, step
from tvrl_jax import state as states
from tvrl_jax.data.batch import Batch
from tvrl_jax.errors import UserError, no_room
from tvrl_jax.files import whole_file
from tvrl_jax.mishap import Mishap
from tvrl_jax.profiler import Profiler, window
from tvrl_jax.record import DIAGNOSIS, record
from tvrl_jax.run import Pending, Run
from tvrl_jax.stopwatch import Stopwatch
from tvrl_jax.tally import Tally

LOG = logging.getLogger("tvrl_jax")

SAMPLES = 16  # augmented clips kept for the report


def loop(
    run: Run, batches: Iterator[Batch], state: states.State, start: int, counts: Tally
) -> None:
    """Steps until done or interrupted."""
    config = run.learner.config
    compiled = _compile(run.learner, state)
    seed = sharding.replicate(np.uint32(run.learner.seed), run.mesh)
    watch = Stopwatch()
    position = sharding.replicate(np.int32(start), run.mesh)
    profiler = _profiler(run, start)
    pending = None
    try:
        with jax.set_mesh(run.mesh):
            for number in range(start, config.train.steps):
                with watch.waiting():
                    rows = next(batches)
                    batch = sharding.put(rows, run.mesh)
                if number == 0:
                    _save_samples(run, seed, batch)
                profiler.before(number)
                # Nothing that a step needs is on its way to or from a device unnoticed.
                with jax.transfer_guard("disallow"):
                    diagnosed = _diagnose(run, seed, state, batch, number)
                    state, position, scalars, embedding = compiled(seed, state, position, batch)
                run.interruption.stepped = True
                watch.step()
                profiler.after(number, scalars)
                if pending:
                    record(run, pending, counts, watch)
                pending = Pending(number, rows, {**scalars, **diagnosed}, embedding)
                stops = run.interruption.stops_after(number + 1)
                if stops or _is_due(config, number + 1):
                    record(run, pending, counts, watch)
                    pending = None
                    _save(run, state, number + 1, counts)
                run.checkpoints.check()
                if stops:
                    run.checkpoints.confirm(number + 1)
                    run.progress.message(f"stopped by a signal; step {number + 1} is saved")
                    run.interruption.leave()
        run.checkpoints.confirm(config.train.steps)
    except Mishap as found:
        raise _stop(run, state, found, counts) from None
    finally:
        profiler.close()
        run.progress.close()
        batches.close()


def _profiler(run: Run, start: int) -> Profiler:
    """The main process's steps are traced; the others do the same work."""
    config = run.learner.config
    traced = window(config.profile.steps, config.train.steps)
    if traced and traced.stop <= start:
        LOG.warning(
            'config.profile.steps = "%s" lies behind step %d, at which the run goes on: nothing is '
            "traced; name later steps.", config.profile.steps, start,
        )  # fmt: skip
    return Profiler(traced if sharding.is_main_process() else range(0), run.folder / "profile")


def _compile(learner: step.Learner, state: states.State):
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(
        step.seeded(guard.guarded_step, learner),
        donate_argnums=1,
        out_shardings=(shardings, None, None, None),
    )


def _stop(run: Run, state: states.State, found: Mishap, counts: Tally) -> UserError:
    """Saves what the step was computed from, and returns what is to be said."""
    skips = run.learner.config.train.on_nan == "skip"
    try:
        if not skips and found.number:
            _save(run, state, found.number, counts)
        run.checkpoints.wait()
        path = mishap.keep(run.folder, found.number, found.batch, run.store)
        if skips:  # the state that the step was computed from is not kept
            kept = f"its batch is kept in {path}"
        else:
            kept = f"python -m tvrl_jax.replay --batch={path} tells which part is not finite"
    except (OSError, UserError) as error:
        kept = f"its batch could not be kept ({error})"
    run.interruption.peers.agree(None)  # the first one to say so ends those that still write
    last = max(run.checkpoints.steps(), default=None)
    row = f", the last of {counts.row()} skipped in a row" if skips else ""
    return UserError(
        f"{found.sentence(run.store)}{row}; the last good checkpoint is that of "
        f"{f'step {last}' if last is not None else 'no step yet'} in {run.folder}; {kept}. In "
        "another --workdir, try a lower optim.lr or optim.clip_norm = 1."
    )


def _is_due(config, done: int) -> bool:
    return _is_regular(config, done) or done == config.train.steps


def _is_regular(config, done: int) -> bool:
    return done % config.train.checkpoint_every == 0


def _diagnose(
    run: Run, seed: jax.Array, state: states.State, batch: dict, number: int
) -> dict[str, jax.Array]:
    """Retrieval from the timestamps alone, when it is due and the method compares views."""
    config = run.learner.config
    if number % config.log.diagnose_every or run.learner.objective.views < 2:
        return {}
    top1 = _blank(run.learner)(seed, state, batch)
    return {DIAGNOSIS: top1, "blank_chance": np.float32(1 / (2 * config.train.batch_size - 1))}


@functools.lru_cache(maxsize=1)
def _blank(learner: step.Learner):
    return jax.jit(step.seeded(step.blank_retrieval, learner))


def _save(run: Run, state: states.State, done: int, counts: Tally) -> None:
    config = run.learner.config
    regular = _is_regular(config, done)
    # A checkpoint out of turn, the last one too, is never the best: a few lucky batches may lie
    # behind it.
    mean = counts.mean() if regular else math.inf
    if regular:
        counts.losses.clear()  # what is saved is what the run goes on with
    meta = {"config": settings.to_json(config), **counts.meta()}
    run.log.sync()  # a checkpoint never outlives the rows of its steps
    run.checkpoints.save(done, state._asdict(), meta, {"loss": mean})


def _save_samples(run: Run, seed: jax.Array, batch: dict) -> None:
    """A few augmented clips for the report."""

    def drawn(learner: step.Learner, rows: dict) -> jax.Array:
        few = {name: rows[name][:SAMPLES] for name in step.IN_VIEWS}
        return step.draw_views(learner, few, 0)["clip_BVTHWC"]

    # On every device, since the main process alone writes them.
    whole = sharding.replicated(run.mesh)
    clips = np.asarray(jax.jit(step.seeded(drawn, run.learner), out_shardings=whole)(seed, batch))
    if not sharding.is_main_process():
        return
    try:
        with whole_file.writing(run.folder / "samples.npz", binary=True) as file:
            np.savez_compressed(file, augmented=(clips * 255).astype(np.uint8))
    except OSError as error:
        if run.learner.config.train.on_full == "stop" or not no_room(error):
            raise
        LOG.warning("no clips are kept for the report: %s.", no_room(error))
