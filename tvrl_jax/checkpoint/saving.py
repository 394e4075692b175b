"""The checkpoints of a run, as training saves and restores them."""

import contextlib
import logging
import shutil
import threading
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from tvrl_jax.checkpoint import digest, whole
from tvrl_jax.errors import UserError, no_room
from tvrl_jax.peers import ALONE, Alone

LOG = logging.getLogger("tvrl_jax")
WRITING = 10.0  # seconds for threads that are to fail as well
PARTIAL = ".orbax-checkpoint-tmp"  # after the step: a checkpoint that is being written


class Checkpoints:
    """The checkpoints of one run: the newest `keep` and the one with the smallest `best` metric.

    `peers`: the processes of the run, which share the folder. All of them make the same calls.
    `on_full`: "stop" or "continue" where there is no room; of several processes, all stop.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        keep: int,
        best: str,
        on_full: str = "stop",
        peers: Alone = ALONE,
    ):
        self.folder, self._on_full, self._peers = Path(folder).absolute(), on_full, peers
        self._saving: int | None = None  # the step that is on its way to the disk
        self._lost: set[int] = set()  # steps that could not be saved
        self._damaged: list[int] = []  # steps that were set aside
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
        whole.hush()
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
        """Starts an asynchronous save; a step that exists already is left as it is.

        Raises UserError when there is no room for this one or for the one before, unless the run
        is to go on without: what is said then. The good checkpoints stay.
        """
        self.wait()
        self._sweep()
        if step in self._manager.all_steps():
            return
        best = {self._best: float(metrics[self._best])}
        sums = digest.checksums(whole.named(tree), self._peers.agree)
        meta = {**meta, "step": step, "metrics": best, "checksums": sums}
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(whole.sealed(meta))
        )
        try:
            with whole.quiet():
                accepted = self._manager.save(step, args=args, metrics=best)
        except Exception as error:
            self._failed(step, error)
            return
        if not accepted:
            raise RuntimeError(f"the checkpoint of step {step} was not accepted in {self.folder}")
        self._saving = step

    def check(self) -> None:
        """As `wait`, for a save that has come to its end; returns at once for one that has not."""
        if self._saving is not None and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when what was saved lies on the disk. Raises as `save` does."""
        step, self._saving = self._saving, None
        if step is None:
            return
        try:
            with whole.quiet():
                self._manager.wait_until_finished()
        except Exception as error:
            self._failed(step, error)

    def confirm(self, step: int) -> None:
        """As `wait`. Raises UserError unless the checkpoint of `step` is there."""
        self.wait()
        if step not in self.steps():
            raise UserError(
                f"the checkpoint of step {step} could not be saved in {self.folder}: make room, "
                "and the same command goes on from the last one that could."
            )

    def _failed(self, step: int, error: Exception) -> None:
        """Removes what there is of a checkpoint, and says why there is no more."""
        reason = no_room(error)
        if not reason:
            raise error
        self._lost.add(step)
        with whole.quiet():
            _await_writers()
            self._sweep()
            self._manager.reload()
        last = max(self.steps(), default=None)
        sentence = (
            f"the checkpoint of step {step} cannot be saved in {self.folder} ({reason}); the last "
            f"good one is that of {f'step {last}' if last is not None else 'no step yet'}"
        )
        if self._on_full == "stop" or self._peers.count > 1:
            raise UserError(f"{sentence}: make room, and the same command goes on.") from error
        LOG.error("%s. The run goes on; the next one is tried.", sentence)

    def _sweep(self) -> None:
        """Removes what was left half-written. What remains is no checkpoint, and the next start
        removes it."""
        for step in self._lost if self._peers.index == 0 else ():
            for part in self.folder.glob(f"{step}{PARTIAL}*"):
                shutil.rmtree(part, ignore_errors=True)

    def restore_newest(self, abstract) -> whole.Restored | None:
        """The newest checkpoint that is whole. A damaged one is named and set aside.

        `abstract` gives shapes, dtypes and shardings; None if there is no checkpoint.

        Raises UserError where all of them were damaged: to begin anew is for whoever started the
        run to decide. For one of other shapes, or that cannot be read now, which is left alone; and
        where processes do not see the same checkpoints.
        """
        self._peers.agree(self.steps(), self._compare)
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
        if self._damaged:
            raise UserError(
                f"{self.folder}: no checkpoint is whole; {len(self._damaged)} were set aside in "
                f"{self.folder.parent / 'damaged'}. The same command begins at step 0."
            )
        return None

    def _compare(self, steps: list[list[int]]) -> None:
        """A host may remember what a shared folder held a minute ago."""
        for index, found in enumerate(steps):
            if found != steps[0]:
                raise UserError(
                    f"{self.folder}: process {index} does not see the checkpoints that process 0 "
                    f"sees ({found}, not {steps[0]}): it must be one folder of all machines; if it "
                    "is, start again in a minute."
                )

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
            try:
                aside.parent.mkdir(exist_ok=True)
                shutil.rmtree(aside, ignore_errors=True)
                (self.folder / str(step)).rename(aside)
            except OSError as error:
                raise UserError(
                    f"{self.folder}/{step} is damaged and cannot be set aside as {aside} "
                    f"({error.strerror})."
                ) from error
        self._peers.agree(None)
        self._damaged.append(step)
        return aside

    def _set_aside_unrated(self) -> None:
        """Orbax reads all metrics at once, stops where one is no JSON, and believes the others."""
        faults = {step: self._fault(step) for step in whole.steps(self.folder)}
        unrated = [[step, fault] for step, fault in faults.items() if fault]
        for step, fault in self._peers.agree(unrated, lambda found: found[0]):
            aside = self._set_aside(step)
            LOG.error(
                "%s/%d is damaged: %s. It was set aside as %s.", self.folder, step, fault, aside
            )

    def _fault(self, step: int) -> str:
        try:
            whole.metrics(self.folder / str(step))
        except whole.Corrupt as error:
            return str(error)
        return ""

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *exception) -> None:
        if self._peers.count > 1 and kind not in (None, SystemExit):
            return  # the others do not know yet, and would be waited for
        try:
            self.wait()
        except UserError:
            if not kind:  # what went wrong first is told
                raise
        finally:
            self._manager.close()
            self._sweep()


def _await_writers() -> None:
    """Orbax reports the first of its threads that fails; the others are still at work."""
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax.") and thread.is_alive():
            with contextlib.suppress(Exception):  # it raises what it failed of
                thread.join(WRITING)


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
