"""Says which part of a step was not finite, from the batch that the run kept.

  python -m tvrl_jax.replay --batch=runs/x/nan/step_1234.npz

Takes the run's configuration and its checkpoint of that step (or the newest before it, and says
so), draws the same augmentations and computes the loss and the update again. Writes nothing.
"""

import argparse
import re
import sys
from pathlib import Path

from tvrl_jax.errors import UserError

LISTED = 12  # leaves or rows of one kind


def main() -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--batch", required=True, help="step_N.npz in the folder nan of a run")
    path = Path(parser.parse_args().batch)
    try:
        for line in replay(path):
            print(line)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def replay(path: Path) -> list[str]:
    """What is and what is not finite, in lines.

    Raises UserError for a file that no run kept, or a run whose checkpoints are gone.
    """
    import jax

    from tvrl_jax import labels, step
    from tvrl_jax.learner import find_objective, make_learner

    kept = _read(path)
    folder = path.absolute().parent.parent
    config = _config(folder)
    objective = find_objective(config)
    store = _store(config) if "head" in objective.parts else None
    learner = labels.hold(folder, make_learner(config, objective, store), store)
    state, note = _state(folder, learner, kept.number)
    views = jax.jit(lambda batch: step.draw_views(learner, batch, state.step))(kept.batch)
    new, logged, _ = jax.jit(lambda s, b: step.train_step(learner, s, b))(state, kept.batch)
    return [
        f"step {kept.number} of {folder}: {len(kept.id_B)} series; {note}",
        *_said("state", {"params": state.params, "extra": state.extra, "ema": state.ema}),
        *_rows(kept.id_B, views),
        *(f"{name}: {float(value):g}" for name, value in logged.items()),
        *_said("update", {"params": new.params, "extra": new.extra}),
    ]


def _read(path: Path):
    """The rows of all processes of its run that kept theirs beside `path`."""
    import numpy as np

    from tvrl_jax import mishap

    found = _parts(path)
    if not found and not path.exists():
        raise UserError(f"--batch={path}: there is no such file; a run keeps its own in nan/.")
    try:
        parts = [mishap.read(each) for each in found or [path]]
        whole = {k: np.concatenate([p.batch[k] for p in parts]) for k in parts[0].batch}
    except (UserError, TypeError, ValueError, KeyError) as error:
        absent = f"it holds no {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"--batch={path}: it is no batch that a run kept ({absent}); name a file step_N.npz "
            "in the folder nan of a run."
        ) from None
    return parts[0]._replace(id_B=[name for p in parts for name in p.id_B], batch=whole)


def _parts(path: Path) -> list[Path]:
    """The files of as many processes; none where `path` is that of a run of one. Runs of other
    numbers of processes may have failed at the same step in the same folder."""
    named = re.fullmatch(r"(.+-of-process-)\d+((?:-of-(\d+))?\.npz)", path.name)
    if not named:
        return []
    like = re.compile(rf"{re.escape(named[1])}(\d+){re.escape(named[2])}")
    found = [(like.fullmatch(each.name), each) for each in path.parent.glob("*.npz")]
    parts = [each for _, each in sorted((int(is_one[1]), each) for is_one, each in found if is_one)]
    if named[3] and parts and len(parts) != int(named[3]):
        raise UserError(
            f"--batch={path}: {len(parts)} of the {named[3]} parts of this batch lie there, and a "
            "part alone has another loss; copy those of the other processes there, too."
        )
    return parts


def _config(folder: Path):
    from configs import base
    from tvrl_jax import settings
    from tvrl_jax.files import run_folder

    config = run_folder.read(folder)
    try:
        settings.check_sections(config, base.get_config())
    except UserError as error:
        raise UserError(f"{folder / run_folder.CONFIG} is not that of a run: {error}") from None
    return config


def _store(config):
    from tvrl_jax.data import opening

    return opening.open_cohort(config.data)  # the readout's constants come from its targets


def _state(folder: Path, learner, number: int):
    """The state that the step was computed from, or the nearest one that is kept."""
    import jax.numpy as jnp

    from tvrl_jax import state as states
    from tvrl_jax.checkpoint import restore_for_reading
    from tvrl_jax.checkpoint.whole import steps

    before = [step for step in steps(folder / "checkpoints") if step <= number]
    start, missing = before[-1] if before else 0, ""
    if before:
        groups = ("params", "extra", "ema", "opt_state")
        tree = restore_for_reading(folder, groups, str(start)).tree
        kept = _moments(learner.tx, tree["params"], tree["opt_state"])
        if kept is None:
            kept = learner.tx.init(tree["params"])
            missing = ", and a fresh optimiser: that of the checkpoint is of other settings"
        state = states.State(jnp.int32(number), **tree | {"opt_state": kept})
    else:
        rule = learner.config
        fresh = states.create(learner.network, learner.tx, rule.seed, rule.train.ema)
        state = fresh._replace(step=jnp.int32(number))
    exact = "its own state" if start == number else f"the state of step {start}, not its own"
    return state, f"computed from {exact}{missing}"


def _moments(tx, params, kept):
    """What the optimiser kept, as it was read (fields of tuples are keys of dicts), in the form
    that `tx` works with; None where it is of another optimiser."""
    import jax

    from tvrl_jax.checkpoint.whole import named

    form, found = jax.eval_shape(tx.init, params), dict(named(kept))
    wanted = named(form)
    same = found.keys() == {name for name, _ in wanted} and all(
        (found[name].shape, found[name].dtype) == (leaf.shape, leaf.dtype) for name, leaf in wanted
    )
    if not same:
        return None
    return jax.tree.unflatten(jax.tree.structure(form), [found[name] for name, _ in wanted])


def _said(what: str, tree) -> list[str]:
    """A line for each leaf that is not finite, or one for all that are, which names the largest
    number: a state may be finite, and yet ruined."""
    import jax
    import numpy as np

    from tvrl_jax.checkpoint.whole import named

    leaves = list(named(jax.device_get(tree)))
    bad = [
        f"{what}: {name} has {np.count_nonzero(~np.isfinite(leaf))} of {leaf.size} not finite"
        for name, leaf in leaves
        if not np.isfinite(leaf).all()
    ]
    if bad:
        return _shortened(bad)
    size, name = max((np.abs(leaf).max(), name) for name, leaf in leaves if leaf.size)
    return [f"{what}: finite, at most {size:.3g} ({name})"]


def _rows(id_B: list[str], views: dict) -> list[str]:
    import numpy as np

    bad = [
        f"augmented {name}: the row of {series} is not finite"
        for name in ("clip_BVTHWC", "time_BVT")
        for series, row in zip(id_B, np.asarray(views[name]), strict=True)
        if not np.isfinite(row).all()
    ]
    return _shortened(bad) or ["augmented clips and times: finite"]


def _shortened(lines: list[str]) -> list[str]:
    """The first ones, and how many there are more."""
    more = len(lines) - LISTED
    return lines if more <= 0 else [*lines[:LISTED], f"... and {more} more"]


if __name__ == "__main__":
    sys.exit(main())
