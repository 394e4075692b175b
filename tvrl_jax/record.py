"""The numbers of a step: fetched, checked, counted and logged."""

import jax

from tvrl_jax import guard, mishap, step
from tvrl_jax.mishap import Mishap
from tvrl_jax.run import Pending, Run
from tvrl_jax.stopwatch import Stopwatch
from tvrl_jax.tally import Tally

DIAGNOSIS = "blank_top1"  # every log.diagnose_every steps


def record(run: Run, pending: Pending, counts: Tally, watch: Stopwatch) -> None:
    """Fetches a step's numbers, counts them and, when it is due, logs them.

    Raises Mishap where they are not finite, unless such steps are skipped.
    """
    number, config = pending.number, run.learner.config
    loss, finite = jax.device_get((pending.scalars["loss"], pending.scalars[guard.FINITE]))
    if finite:
        counts.losses.append(float(loss))
    else:
        _skip(run, pending, counts)
    row = None
    due = number % config.log.every == 0 or number + 1 == config.train.steps
    if due or DIAGNOSIS in pending.scalars:  # what was measured is not thrown away
        row = _row(run, pending) | watch.read(_clips_per_step(run))
        if config.train.on_nan == "skip":
            row["skipped"] = len(counts.skipped)
        run.log.write(number, row)
    run.progress.update(number + 1, row)


def _row(run: Run, pending: Pending) -> dict[str, float]:
    scalars = {k: v for k, v in pending.scalars.items() if k != guard.FINITE}
    row = {k: float(v) for k, v in jax.device_get(scalars).items()}
    if pending.embedding_BVE.size:
        row["effective_rank"] = float(jax.device_get(_rank(pending.embedding_BVE)))
    return row


def _clips_per_step(run: Run) -> int:
    return run.learner.config.train.batch_size * run.learner.objective.views


def _skip(run: Run, pending: Pending, counts: Tally) -> None:
    """Counts and names a step that was not applied. Raises Mishap where the run is to end."""
    rule = run.learner.config.train
    what = mishap.describe(pending.number, jax.device_get(pending.scalars))
    found = Mishap(pending.number, what, pending.batch)
    if rule.on_nan == "stop":
        raise found
    counts.skipped.append(pending.number)
    run.progress.message(f"skipped: {found.sentence(run.store)}")
    if counts.row() >= rule.max_skips:
        raise found


_rank = jax.jit(step.embedding_rank)
