"""What a run counts besides its state; it is saved with the state, so that resuming is exact."""

import math
from typing import NamedTuple


class Tally(NamedTuple):
    losses: list[float]  # finite ones, since the last regular checkpoint
    skipped: list[int]  # steps that were not applied, since the run began

    def row(self) -> int:
        """How many of the last steps were skipped one after another."""
        count = 0
        for number in reversed(self.skipped):
            if number != self.skipped[-1] - count:
                break
            count += 1
        return count

    def mean(self) -> float:
        """Of the losses; infinite where there is none, which is never the best."""
        return sum(self.losses) / len(self.losses) if self.losses else math.inf

    def meta(self) -> dict:
        """Copies: a checkpoint is written while the run goes on."""
        return {"losses": list(self.losses), "skipped": list(self.skipped)}


def of_meta(meta: dict) -> Tally:
    """What `meta` gave. Checkpoints from before steps could be skipped have none."""
    return Tally(list(meta["losses"]), list(meta.get("skipped", ())))
