"""Parts of a checkpoint, for those who do not train."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from tvrl_jax.checkpoint import whole
from tvrl_jax.errors import UserError
from tvrl_jax.peers import ALONE


def restore_for_reading(folder: str | Path, groups: tuple[str, ...], pick: str) -> whole.Restored:
    """Groups of the state (such as params and extra) as host arrays, without knowing the model.

    Args:
      folder: a run folder, or the `checkpoints` folder in it.
      groups: fields of the state.
      pick: "newest", "best" (the newest where none was rated), or a step.

    Raises:
      UserError: not a checkpoint folder, no such step, or a damaged checkpoint.
    """
    whole.hush()
    folder = _checkpoint_folder(Path(folder))
    steps = whole.steps(folder)
    step = _pick(folder, steps, pick)
    place = folder / str(step)
    try:
        tree, meta = whole.attempt(lambda: _read(place, groups), place)
        whole.verify(tree, meta, ALONE.agree)
    except whole.Corrupt as error:
        others = ", ".join(str(s) for s in steps if s != step)
        hint = f"choose another step ({others})" if others else "there is no other"
        raise UserError(
            f"{folder}: the checkpoint of step {step} is damaged ({error}); {hint}."
        ) from error
    return whole.Restored(step, tree, meta)


def _read(place: Path, groups: tuple[str, ...]) -> tuple[Any, dict]:
    """Groups of a checkpoint's state, and what was saved beside it."""
    # Not by way of Orbax's manager, which reads the metrics of all checkpoints first.
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        metadata = whole.shapes(reader.metadata(place / "state").item_metadata)
        absent = [group for group in groups if group not in metadata]
        if absent:
            raise whole.Corrupt(f"it holds no {absent[0]}")
        tree = reader.restore(place / "state", args=_args({g: metadata[g] for g in groups}))
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        return tree, reader.restore(place / "meta")


def _args(metadata) -> ocp.args.PyTreeRestore:
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    item = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), metadata)
    each = ocp.checkpoint_utils.construct_restore_args(item)
    return ocp.args.PyTreeRestore(item, restore_args=each, partial_restore=True)


def _checkpoint_folder(folder: Path) -> Path:
    inner = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    if not inner.is_dir():
        wrong = "is a file" if inner.exists() else "there is no such folder"
        raise UserError(f"checkpoint {folder}: {wrong}; name the folder of a pretraining run.")
    if not whole.steps(inner):
        if folder.name.isdecimal() and (folder / "state").is_dir():
            run = folder.parent.parent if folder.parent.name == "checkpoints" else folder.parent
            raise UserError(
                f"checkpoint {folder} is one of a run: name the run, {run}, and the step, "
                f"{folder.name}."
            )
        raise UserError(
            f"checkpoint {folder}: holds no checkpoint; name the folder of a pretraining run."
        )
    return inner.absolute()


def _pick(folder: Path, steps: list[int], pick: str) -> int:
    if pick == "newest":
        return steps[-1]
    if pick == "best":
        return min(reversed(steps), key=lambda step: _saved_metric(folder / str(step)))
    if pick.isdecimal() and int(pick) in steps:
        return int(pick)
    raise UserError(
        f'step "{pick}": {folder} has {", ".join(map(str, steps))}; name one of them, newest '
        "or best."
    )


def _saved_metric(folder: Path) -> float:
    """The metric that a checkpoint was saved with; of one that has lost it nothing is known."""
    try:
        return float(next(iter(whole.metrics(folder).values())))
    except (whole.Corrupt, ValueError, AttributeError, TypeError, StopIteration):
        raise UserError(
            f"{folder} does not say how good it was (its metrics are gone): choose by number, "
            f"step {folder.name}."
        ) from None
