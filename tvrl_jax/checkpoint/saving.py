"""The checkpoints of a run, as training saves and restores them."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from tvrl_jax.checkpoint import whole
from tvrl_jax.errors import UserError

LOG = logging.getLogger("tvrl_jax")


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
        self._set_aside_unrated()
        handlers = {"state": ocp.StandardCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
        with whole.quiet():
            self._manager = ocp.CheckpointManager(
                self.folder, options=options, item_handlers=handlers
            )
        self._best = best

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def save(self, step: int, tree, meta: dict, metrics: dict[str, float]) -> None:
        """Starts an asynchronous save; a step that exists already is left as it is."""
        if step in self._manager.all_steps():
            return
        host = jax.device_get(tree)
        meta = {**meta, "step": step, "checksums": whole.checksums(host)}
        args = ocp.args.Composite(state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta))
        best = {self._best: float(metrics[self._best])}
        if not self._manager.save(step, args=args, metrics=best):
            raise RuntimeError(f"the checkpoint of step {step} was not accepted in {self.folder}")

    def restore_newest(self, abstract) -> whole.Restored | None:
        """The newest checkpoint that is whole. A damaged one is named and set aside.

        `abstract` gives shapes, dtypes and shardings; None if there is no good checkpoint.

        Raises UserError for a checkpoint of other shapes, and leaves it alone.
        """
        for step in reversed(self.steps()):
            try:
                self._refuse_other(step, abstract)
                return self._restore(step, abstract)
            except whole.Corrupt as error:
                aside = self._set_aside(step)
                self._manager.reload()
                LOG.error(
                    "%s/%d is damaged: %s. It was set aside as %s; an older one is tried.",
                    self.folder, step, error, aside,
                )  # fmt: skip
        return None

    def _refuse_other(self, step: int, abstract) -> None:
        read = lambda: whole.shapes(self._manager.item_metadata(step)["state"])  # noqa: E731
        stored = whole.attempt(read, self.folder / str(step))
        difference = _difference(dict(whole.named(stored)), dict(whole.named(abstract)))
        if difference:
            raise UserError(
                f"{self.folder.parent}: the checkpoint of step {step} is {difference}; "
                "name another --workdir."
            )

    def _restore(self, step: int, abstract) -> whole.Restored:
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
        )
        read = lambda: self._manager.restore(step, args=args)  # noqa: E731
        found = whole.attempt(read, self.folder / str(step))
        whole.verify(found["state"], found["meta"])
        return whole.Restored(step, found["state"], found["meta"])

    def _set_aside(self, step: int) -> Path:
        aside = self.folder.parent / "damaged" / f"{self.folder.name}-{step}"
        aside.parent.mkdir(exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        (self.folder / str(step)).rename(aside)
        return aside

    def _set_aside_unrated(self) -> None:
        """Orbax reads all metrics at once, and stops at one that is no JSON."""
        for step in whole.steps(self.folder):
            metrics = self.folder / str(step) / "metrics" / "metrics"
            try:
                json.loads(metrics.read_text() if metrics.exists() else "{}")
            except ValueError:
                aside = self._set_aside(step)
                LOG.error("%s is damaged; its checkpoint was set aside as %s.", metrics, aside)

    def wait(self) -> None:
        """Returns when all that was saved lies on disk."""
        self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


def _difference(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Where the shapes of two trees differ, in words; the parameters before what follows them."""
    names = sorted(stored | wanted, key=lambda name: (not name.startswith("params"), name))
    for name in names:
        whose = "another model" if name.startswith("params") else "a run with other settings"
        if name not in wanted:
            return f"of {whose} (it holds {name} besides)"
        if name not in stored:
            return f"of {whose} (it holds no {name})"
        was, now = tuple(stored[name].shape), tuple(wanted[name].shape)
        if was != now:
            return f"of {whose} ({name} is {was}, not {now})"
    return ""
