"""train.py, in which one process meets with something at one step.

    TVRL_SCRIPT=WHAT:PROCESS:STEP python tests/scripted_train.py FLAGS

PROCESS is its number, or all. WHAT is term (it is sent SIGTERM), kill (SIGKILL) or raise, while the
process waits for the batch of that step; or nan: the times of its rows of that batch are no
numbers. The ids of the series that a process reads are added, a line a step, to order.PROCESS in
the run folder's parent.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

import jax
import numpy as np
from absl import flags

from tvrl_jax import sharding, trainer

WHOLE = trainer.train_batches
sharding.MIN_SHARDED_SIZE = 2**10  # no array of nano has 2**14 numbers: all would stay whole


def _happen(what: str) -> None:
    if what == "raise":
        raise ValueError("the sky is falling")
    os.kill(os.getpid(), {"term": signal.SIGTERM, "kill": signal.SIGKILL}[what])


class Scripted:
    """The batches, with what the script says in between."""

    def __init__(self, *args, start_step: int, **kwargs):
        self._inner = WHOLE(*args, start_step=start_step, **kwargs)
        self._at = start_step
        self._what, process, step = os.environ.get("TVRL_SCRIPT", "nothing:0:-1").split(":")
        mine = process in ("all", str(jax.process_index()))
        self._step = int(step) if mine else -1
        folder = Path(flags.FLAGS.workdir).parent
        self._order = (folder / f"order.{jax.process_index()}").open("a")

    def __iter__(self):
        return self

    def __next__(self):
        now = self._at == self._step
        if now and self._what != "nan":
            _happen(self._what)
        batch = next(self._inner)
        if now and self._what == "nan":
            batch = batch | {"time_BVT": np.full_like(batch["time_BVT"], np.nan)}
        print(self._at, jax.process_count(), *batch["series_B"], file=self._order, flush=True)
        self._at += 1
        return batch

    def close(self):
        self._order.close()
        self._inner.close()


if __name__ == "__main__":
    trainer.train_batches = Scripted
    sys.argv[0] = "train.py"
    runpy.run_path("train.py", run_name="__main__")
