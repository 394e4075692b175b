"""Checkpoints: state, configuration and a checksum of every leaf. The only home of Orbax."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from tvrl_jax.errors import UserError

LOG = logging.getLogger("tvrl_jax")


class Restored(NamedTuple):
    step: int
    tree: Any
    meta: dict  # what was given to `save`


class Corrupt(Exception):
    """A checkpoint that cannot be read, or whose content is not what was saved."""


def checksums(tree) -> dict[str, str]:
    """SHA-256 of each leaf's shape, dtype and bytes. Orbax itself does not notice a flipped bit."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    # Names without brackets or dots: a field of a NamedTuple comes back as a key of a dict.
    return {jax.tree_util.keystr(p, simple=True, separator="/"): _digest(x) for p, x in leaves}


def _digest(leaf) -> str:
    array = np.ascontiguousarray(leaf)
    digest = hashlib.sha256(f"{array.shape}{array.dtype}".encode())
    digest.update(array.view(np.uint8).reshape(-1) if array.size else b"")
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one run: the newest `keep` and the one with the smallest `best` metric."""

    def __init__(self, folder: str | Path, *, keep: int, best: str):
        self.folder = Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(
            create=True,
            cleanup_tmp_directories=True,
            # max_to_keep together with best_fn would delete the newest; this keeps both kinds.
            best_fn=lambda metrics: metrics[best],
            preservation_policy=managers.AnyPreservationPolicy(
                [
                    managers.LatestN(keep),
                    managers.BestN(get_metric_fn=lambda m: m[best], reverse=True, n=1),
                ]
            ),
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._best = best

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def save(self, step: int, tree, meta: dict, metrics: dict[str, float]) -> None:
        """Starts an asynchronous save; a step that exists already is left as it is."""
        if step in self._manager.all_steps():
            return
        host = jax.device_get(tree)
        meta = {**meta, "step": step, "checksums": checksums(host)}
        args = ocp.args.Composite(state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta))
        best = {self._best: float(metrics[self._best])}
        if not self._manager.save(step, args=args, metrics=best):
            raise RuntimeError(f"the checkpoint of step {step} was not accepted in {self.folder}")

    def restore_newest(self, abstract) -> Restored | None:
        """The newest checkpoint that is whole. A damaged one is named and set aside.

        `abstract` gives shapes, dtypes and shardings; None if there is no good checkpoint.
        """
        for step in reversed(self.steps()):
            try:
                return self._restore(step, abstract)
            except Corrupt as error:
                aside = self._set_aside(step)
                LOG.error("%s It was set aside as %s; an older one is tried.", error, aside)
        return None

    def _restore(self, step: int, abstract) -> Restored:
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
        )
        tree, meta = _read(self._manager, step, args, self.folder)
        return Restored(step, tree, meta)

    def _set_aside(self, step: int) -> Path:
        aside = self.folder.parent / "damaged" / f"{self.folder.name}-{step}"
        aside.parent.mkdir(exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        (self.folder / str(step)).rename(aside)
        self._manager.reload()
        return aside

    def wait(self) -> None:
        """Returns when all that was saved lies on disk."""
        self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


def restore_for_reading(folder: str | Path, groups: tuple[str, ...], pick: str) -> Restored:
    """Groups of the state (such as params and extra) as host arrays, without knowing the model.

    Args:
      folder: a run folder, or the `checkpoints` folder in it.
      groups: fields of the state.
      pick: "newest", "best", or a step.

    Raises:
      UserError: not a checkpoint folder, no such step, or a damaged checkpoint.
    """
    folder = _checkpoint_folder(Path(folder))
    handlers = {"state": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
    with ocp.CheckpointManager(folder, item_handlers=handlers) as manager:
        step = _pick(folder, sorted(manager.all_steps()), pick)
        try:
            metadata = _attempt(lambda: manager.item_metadata(step)["state"].tree, folder, step)
            args = _partial_args({g: metadata[g] for g in groups})
            tree, meta = _read(manager, step, args, folder)
        except (Corrupt, KeyError, TypeError) as error:
            others = [s for s in manager.all_steps() if s != step]
            raise UserError(
                f"{folder}: the checkpoint of step {step} is damaged ({error}); "
                f"choose another with --step ({', '.join(map(str, others)) or 'there is none'})."
            ) from error
    return Restored(step, tree, meta)


def _checkpoint_folder(folder: Path) -> Path:
    inner = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    if not inner.is_dir():
        raise UserError(f"--checkpoint={folder}: there is no such folder.")
    if not any(child.name.isdigit() for child in inner.iterdir()):
        raise UserError(
            f"--checkpoint={folder}: holds no checkpoint; give the --workdir of a pretraining run."
        )
    return inner.absolute()


def _pick(folder: Path, steps: list[int], pick: str) -> int:
    if pick == "newest":
        return steps[-1]
    if pick == "best":
        return min(steps, key=lambda step: _saved_metric(folder / str(step)))
    if pick.isdigit() and int(pick) in steps:
        return int(pick)
    raise UserError(f"{folder}: no step {pick}; there are {', '.join(map(str, steps))}.")


def _saved_metric(folder: Path) -> float:
    metrics = json.loads((folder / "metrics" / "metrics").read_text())
    return next(iter(metrics.values()))


def _partial_args(tree):
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    item = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), tree)
    restore = ocp.args.PyTreeRestore(
        item,
        restore_args=ocp.checkpoint_utils.construct_restore_args(item),
        partial_restore=True,
    )
    return ocp.args.Composite(state=restore, meta=ocp.args.JsonRestore())


def _read(manager, step: int, args, folder: Path) -> tuple[Any, dict]:
    restored = _attempt(lambda: manager.restore(step, args=args), folder, step)
    tree, meta = restored["state"], restored["meta"]
    want = meta.get("checksums", {})
    wrong = [p for p, digest in checksums(jax.device_get(tree)).items() if want.get(p) != digest]
    if wrong:
        raise Corrupt(f"{folder}/{step}: {wrong[0]} is not what was saved (checksum).")
    return tree, meta


def _attempt(read: Callable[[], Any], folder: Path, step: int):
    try:
        return read()
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise Corrupt(f"{folder}/{step}: {type(error).__name__}: {first}") from error
