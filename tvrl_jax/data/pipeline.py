"""From the store to batches of clips, with Grain: seeded, sliced by host, resumed from a step.

The batches are those of `batch.py`. The order of the series, the frames drawn and every row of a
batch depend on the seed and the step alone: not on threads, worker processes or hosts. Series
repeat without end and epochs run into each other, so a batch larger than the cohort holds a series,
and any batch can hold a subject, more than once: an objective that takes the other rows for
negatives can tell by subject_B.
"""

import signal
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import grain
import numpy as np
from absl import flags

from tvrl_jax.data import clips as cut
from tvrl_jax.data import orphan
from tvrl_jax.data.batch import Batch, Plan, read_batch
from tvrl_jax.data.packing import Packing, capacity, places
from tvrl_jax.errors import UserError, nearest

AHEAD = 2  # batches that each reading thread or process may be ahead of training


def train_batches(
    store,
    *,
    split: str,
    clips: dict[str, Any],
    views: int,
    batch_size: int,
    seed: int,
    start_step: int,
    process_index: int,
    process_count: int,
    threads: int,
    workers: int,
    targets: np.ndarray | None = None,
    packing: Packing | None = None,
) -> Iterator[Batch]:
    """Endless batches of randomly drawn clips, from `start_step` on: this process's rows.

    Args:
      store: an open Store.
      clips: config.clips.
      views: of a series, among which clips.drop leaves out frames of each.
      batch_size: of the GLOBAL batch. Process i holds its i-th contiguous block of rows, and the
        global batch is the same for any number of processes.
      threads: reading threads; 0 reads while the caller waits.
      workers: reading processes, which end with this one. The store must pickle, and the main
        module needs its `if __name__ == "__main__"` guard.
      targets: one row per series of the store, [n_series, K].
      packing: list the real frames in packed_GVC; None = the batch has no such array.

    Returns an iterator with a close(). Raises UserError for an unknown or empty split, a value of
    config.clips that names nothing, and a batch that does not divide among the processes.
    """
    draw = dict(clips)
    relative = draw.pop("relative_time")
    cut.check(**draw)
    rows = _rows_per_process(batch_size, process_count)
    plans = (
        grain.MapDataset.source(_series_of(store, split))
        .seed(seed)
        .repeat(None)
        .map_with_index(partial(_shuffled, _series_of(store, split), seed))
        .random_map(partial(_plan, [info.frames for info in store.series], draw, views))
    )
    read = partial(read_batch, store, relative_time=relative, targets=targets)
    # The generator of random_map is keyed by the position in the global order, so that a process
    # may take its contiguous rows of each batch after it.
    if packing:
        batches = plans.batch(batch_size, drop_remainder=True, batch_fn=list)
        mine = slice(process_index * rows, (process_index + 1) * rows)
        groups = packing.groups // process_count
        made = batches.slice(slice(start_step, None)).map(
            partial(_read_packed, read, mine, groups, packing)
        )
    else:
        blocks = plans.batch(rows, drop_remainder=True, batch_fn=list)
        first = start_step * process_count + process_index
        made = blocks.slice(slice(first, None, process_count)).map(read)
    return iter(_prefetch(made, threads=threads, workers=workers))


def _read_packed(read, mine: slice, groups: int, packing: Packing, plans: list[Plan]) -> Batch:
    """This process's rows of a global batch, and where their real frames are."""
    valid_BVT = np.stack([plan.valid_VT for plan in plans])
    length = capacity(valid_BVT, packing)
    return read(plans[mine]) | {
        "packed_GVC": places(valid_BVT[mine], groups, length, packing.pieces)
    }


def _shuffled(series: np.ndarray, seed: int, position: int, _) -> int:
    """The series at a position of the endless order, which runs through them anew each epoch."""
    # Grain's own shuffle tries about 2^16 / n numbers for an element of n: a millisecond for 50.
    epoch, place = divmod(position, len(series))
    return series[_order(len(series), seed, epoch)[place]]


@lru_cache(4)  # a batch reaches into few epochs; a batch of many small ones can afford to redraw
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def _plan(
    frames_of: Sequence[int], draw: dict, views: int, series: int, rng: np.random.Generator
) -> Plan:
    return Plan(int(series), *cut.draw_clip(rng, frames_of[series], **draw, views=views))


def _series_of(store, split: str) -> np.ndarray:
    known = {info.split for info in store.series}
    if split not in known:
        raise UserError(
            f'No series of the cohort is in the split "{split}".{nearest(split, known)}'
        )
    return np.asarray(store.split(split))


def _rows_per_process(batch_size: int, process_count: int) -> int:
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"train.batch_size = {batch_size} does not divide among {process_count} processes: "
            "use a multiple of that."
        )
    return batch_size // process_count


def _prefetch(dataset: grain.MapDataset, *, threads: int, workers: int) -> grain.IterDataset:
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=AHEAD * threads)
    batches = dataset.to_iter_dataset(options)
    if not workers:
        return batches
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain reads a flag of its own when it starts a process
    processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=AHEAD)
    return batches.mp_prefetch(processes, worker_init_fn=_start).map(_plain)


def _start(worker: int, workers: int) -> None:
    """A terminal and a scheduler signal every process at once. The trainer, which saves before it
    ends, needs its batches until then."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orphan.end_with_parent()


def _plain(batch: Batch) -> Batch:
    """Views of shared memory -> ordinary arrays that live as long as anyone holds them."""
    return {name: np.array(value) for name, value in batch.items()}
