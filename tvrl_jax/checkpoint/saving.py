"""The checkpoints of a run, as training saves and restores them."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from tvrl_jax.checkpoint import digest, whole
from tvrl_jax.errors import UserError
from tvrl_jax.peers import Alone

LOG = logging.getLogger("tvrl_jax")
ALONE = Alone()


class Checkpoints:
    """The checkpoints of one run: the newest `keep` and the one with the smallest `best` metric.

    `peers`: the processes of the run, which share the folder. All of them make the same calls.
    """

    def __init__(self, folder: str | Path, *, keep: int, best: str, peers: Alone = ALONE):
        self.folder, self._peers = Path(folder).absolute(), peers
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
        sums = digest.checksums(whole.named(tree), self._peers.agree)
        meta = {**meta, "step": step, "checksums": sums}
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
            restored, fault = self._attempt(step, abstract)
            if not fault:
                return restored
            aside = self._set_aside(step)
            self._manager.reload()
            LOG.error(
                "%s/%d is damaged: %s. It was set aside as %s; an older one is tried.",
                self.folder, step, fault, aside,
            )  # fmt: skip
        return None

    def _attempt(self, step: int, abstract) -> tuple[whole.Restored | None, str]:
        """A checkpoint, and what is wrong with it, on which all processes agree."""
        restored, fault = None, ""
        try:
            self._refuse_other(step, abstract)
            restored = self._restore(step, abstract)
        except whole.Corrupt as error:
            fault = str(error)
        fault = self._peers.agree(fault, lambda faults: next(filter(None, faults), ""))
        if fault:
            return None, fault
        try:
            whole.verify(restored.tree, restored.meta, self._peers.agree)
        except whole.Corrupt as error:
            return None, str(error)
        return restored, ""

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
        # Not by way of the manager: its processes wait for each other, for the one that fails too.
        place = self.folder / str(step)

        def read():
            state = ocp.StandardCheckpointHandler().restore(
                place / "state", args=ocp.args.StandardRestore(abstract)
            )
            return state, ocp.JsonCheckpointHandler().restore(place / "meta")

        return whole.Restored(step, *whole.attempt(read, place))

    def _set_aside(self, step: int) -> Path:
        aside = self.folder.parent / "damaged" / f"{self.folder.name}-{step}"
        if self._peers.index == 0:
            aside.parent.mkdir(exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / str(step)).rename(aside)
        self._peers.agree(None)
        return aside

    def _set_aside_unrated(self) -> None:
        """Orbax reads all metrics at once, and stops at one that is no JSON."""
        unrated = [step for step in whole.steps(self.folder) if not self._is_rated(step)]
        for step in self._peers.agree(unrated, lambda found: found[0]):
            aside = self._set_aside(step)
            LOG.error(
                "the metrics of %s/%d are damaged; it was set aside as %s.",
                self.folder, step, aside,
            )  # fmt: skip

    def _is_rated(self, step: int) -> bool:
        metrics = self.folder / str(step) / "metrics" / "metrics"
        try:
            json.loads(metrics.read_text() if metrics.exists() else "{}")
        except (OSError, ValueError):
            return False
        return True

    def wait(self) -> None:
        """Returns when all that was saved lies on disk."""
        self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *exception) -> None:
        if self._peers.count > 1 and kind not in (None, SystemExit):
            return  # the others do not know yet, and would be waited for
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
