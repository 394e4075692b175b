"""A trace of a few training steps: where the time goes, operation by operation."""

import logging
import re
from pathlib import Path

import jax

from tvrl_jax.errors import UserError, no_room

LOG = logging.getLogger("tvrl_jax")


def window(text: str, steps: int) -> range:
    """Which of a run's `steps` are traced: "10:15" = 10 to 14, "" = none.

    Raises UserError for anything else, and for steps that the run does not have.
    """
    if not text:
        return range(0)
    match = re.fullmatch(r"(\d{1,10}):(\d{1,10})", text)
    traced = range(*map(int, match.groups())) if match else range(0)
    if not traced:
        raise UserError(
            f'config.profile.steps = "{text}" must be FIRST:END, such as 10:15 for the steps '
            '10 to 14, or "" for none.'
        )
    if traced.stop > steps:
        raise UserError(
            f'config.profile.steps = "{text}" goes beyond config.train.steps = {steps}.'
        )
    return traced


class Profiler:
    """Writes what JAX records during the steps of a window into a folder.

    The first steps of a process compile: a window that begins later shows the training.
    """

    def __init__(self, traced: range, folder: Path) -> None:
        self._traced, self._folder, self._running = traced, folder, False
        self._first = self._last = -1  # of the steps that were traced

    def before(self, number: int) -> None:
        """Call before the step of this number is begun."""
        if number not in self._traced:
            return
        if not self._running:
            jax.profiler.start_trace(self._folder)
            self._running, self._first = True, number
        self._last = number

    def after(self, number: int, outputs) -> None:
        """Call once the step is begun; waits for its outputs if it is the window's last one."""
        if self._running and number + 1 == self._traced.stop:
            jax.block_until_ready(outputs)
            self.close()

    def close(self) -> None:
        """Writes what there is of a window that is not over; nothing where none was begun."""
        if not self._running:
            return
        self._running = False
        try:
            jax.profiler.stop_trace()
        except Exception as error:  # XLA's own, for want of a file
            if not no_room(error):
                raise
            LOG.warning("%s: there is no room for a trace on the disk.", self._folder)
            return
        LOG.info(
            "trace of steps %d to %d in %s: open its .trace.json.gz at https://ui.perfetto.dev, or "
            "the folder with `xprof --logdir=%s` (pip install xprof)",
            self._first, self._last, self._folder, self._folder,
        )  # fmt: skip
