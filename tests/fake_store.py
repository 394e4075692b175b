"""A store of series whose every pixel holds the frame's position, without files.

Run as a program it starts worker processes, prints their ids, waits for a line, draws 30 more
batches and prints how many that were.
"""

import multiprocessing
import sys
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from tvrl_jax.data import orphan
from tvrl_jax.data.pipeline import train_batches


class FakeSeries(NamedTuple):
    split: str
    frames: int
    time_T: np.ndarray


class FakeStore(SimpleNamespace):
    def frames(self, i: int, index_L: np.ndarray) -> np.ndarray:
        if not 0 <= min(index_L) <= max(index_L) < self.series[i].frames:
            raise IndexError(f"series {i} has no frames {index_L}")
        shape = (len(index_L), self.image_size, self.image_size, self.channels)
        return np.broadcast_to(np.uint8(index_L)[:, None, None, None], shape)

    def split(self, name: str) -> np.ndarray:
        return np.array([i for i, info in enumerate(self.series) if info.split == name])


def make_store(frames_of: list[int], size: int = 6) -> FakeStore:
    """Every fourth series is validation, two series to a subject; irregular times."""
    rng = np.random.default_rng(0)
    return FakeStore(
        series=tuple(
            FakeSeries("val" if i % 4 == 3 else "train", n, 7 + np.cumsum(rng.uniform(0.1, 1, n)))
            for i, n in enumerate(frames_of)
        ),
        subject_index=np.arange(len(frames_of), dtype=np.int32) // 2,
        image_size=size,
        channels=1,
    )


def linger(begun, go_on) -> None:
    """What a worker process does that waits."""
    orphan.end_with_parent()
    begun.set()
    go_on.wait(120)


def main():
    batches = train_batches(
        make_store([30, 20, 10]),
        split="train",
        clips=dict(
            frames=4,
            stride=1,
            sampling="random",
            windows=1,
            interval="constant",
            relative_time=True,
            drop=0.0,
            drop_spread=0.0,
        ),
        views=2,
        batch_size=4,
        seed=0,
        start_step=0,
        process_index=0,
        process_count=1,
        threads=1,
        workers=2,
    )
    for _ in range(2):  # one of each worker: both have started
        next(batches)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    sys.stdin.readline()
    print(sum(1 for _ in zip(range(30), batches, strict=False)), flush=True)
    batches.close()


if __name__ == "__main__":
    main()
