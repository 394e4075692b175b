"""Clips per second from a warm store: 8 frames of 128 x 128, uint8, ready for the device.

    python -m benchmarks.pipeline                  # the real store, on a temporary folder
    python -m benchmarks.pipeline --workers=2      # processes instead of threads

Writes random series into a temporary store, reads each once so that the page cache is warm, then
times `train_batches` in several windows of equal length and prints their median and range. A clip
is one window of one series.
"""

import argparse
import statistics
import tempfile
import time

import numpy as np
import pandas as pd

from tvrl_jax.data import packed
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.data.store import Place, SeriesInfo, Store


def make_store(folder: str, *, series: int, frames: int, size: int) -> Store:
    """Random uint8 series, one file each, as packing would leave them."""
    rng = np.random.default_rng(0)
    infos, places = [], []
    for i in range(series):
        frame_THWC = rng.integers(0, 256, (frames, size, size, 1), np.uint8)
        path = f"{folder}/{i}.frames"
        packed.write(path, [(packed.Entry(None, frames, 0, None, ""), frame_THWC)])
        places.append(Place(path, packed.read_header(path).start))
        infos.append(
            SeriesInfo(str(i), str(i), "train", i + 2, frames, np.arange(frames) / 50, None)
        )
    return Store(
        series=infos,
        places=places,
        table=pd.DataFrame({"subject": [info.subject for info in infos]}),
        where="random series",
        columns=dict(subject="subject", path="", series="", split=""),
        known_targets=(),
        time_unit="s",
        image_size=size,
        channels=1,
    )


def measure(store: Store, args: argparse.Namespace) -> list[float]:
    """Clips per second of each repeat."""
    batches = train_batches(
        store,
        split="train",
        clips=dict(
            frames=8,
            stride=2,
            sampling="random",
            windows=args.windows,
            interval="linear_decrease",
            relative_time=True,
            drop=0.0,
            drop_spread=0.0,
        ),
        views=2,
        batch_size=args.batch_size,
        seed=0,
        start_step=0,
        process_index=0,
        process_count=1,
        threads=args.threads,
        workers=args.workers,
    )
    for _ in range(8):  # thread and process start-up, first touch of every file
        next(batches)
    rates = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        for _ in range(args.steps):
            next(batches)
        rates.append(args.steps * args.batch_size * args.windows / (time.perf_counter() - start))
    batches.close()
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--size", type=int, default=128, help="side of a frame, pixels")
    parser.add_argument("--windows", type=int, default=1, help="1 or 2 clips of each series")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40, help="batches in a repeat")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(folder, series=args.series, frames=50, size=args.size)
        rates = measure(store, args)
    print(
        f"{statistics.median(rates):,.0f} clips/s, median of {args.repeats} "
        f"({min(rates):,.0f} to {max(rates):,.0f}); 8 frames of {args.size} x {args.size}, "
        f"batch {args.batch_size}, {args.threads} threads, {args.workers} processes"
    )


if __name__ == "__main__":
    main()
