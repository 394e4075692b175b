"""Hosts, threads, worker processes and restarts change nothing in a batch."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import fake_store
import numpy as np
import pytest
from fake_store import make_store

from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.errors import UserError

CLIPS = dict(
    frames=4,
    stride=2,
    sampling="random",
    windows=2,
    interval="linear_decrease",
    relative_time=True,
    drop=0.0,
    drop_spread=0.0,
)


@pytest.fixture(scope="module")
def store():
    return make_store([30, 20, 5, 3, 1, 25, 12, 9, 40, 17, 6])


def take(store, count, *, clips=CLIPS, **changes):
    settings = dict(
        split="train",
        views=2,
        batch_size=8,
        seed=0,
        start_step=0,
        process_index=0,
        process_count=1,
        threads=2,
        workers=0,
    )
    batches = train_batches(store, clips=clips, **settings | changes)
    taken = list(islice(batches, count))
    batches.close()
    return taken


def assert_same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert type(a[name]) is type(b[name]) is np.ndarray
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_batch_has_the_stated_arrays(store):
    targets = np.arange(len(store.series) * 2, dtype=np.float32).reshape(-1, 2)
    (batch,) = take(store, 1, targets=targets)
    shapes = {name: (value.shape, value.dtype.name) for name, value in batch.items()}
    assert shapes == {
        "clip_BVTHWC": ((8, 2, 4, 6, 6, 1), "uint8"),
        "time_BVT": ((8, 2, 4), "float32"),
        "valid_BVT": ((8, 2, 4), "bool"),
        "anchor_BV": ((8, 2), "float32"),
        "subject_B": ((8,), "int32"),
        "series_B": ((8,), "int32"),
        "weight_B": ((8,), "float32"),
        "target_BK": ((8, 2), "float32"),
    }
    assert (batch["weight_B"] == 1).all()
    np.testing.assert_array_equal(batch["target_BK"], targets[batch["series_B"]])
    np.testing.assert_array_equal(batch["subject_B"], store.subject_index[batch["series_B"]])


@pytest.mark.parametrize("relative", [True, False])
def test_frames_and_times_belong_together(store, relative):
    for batch in take(store, 6, clips=CLIPS | dict(relative_time=relative)):
        for row, i in enumerate(batch["series_B"]):
            info = store.series[i]
            for view in range(2):
                valid_T = batch["valid_BVT"][row, view]
                clip, times = batch["clip_BVTHWC"][row, view], batch["time_BVT"][row, view]
                position = clip[valid_T, 0, 0, 0]  # the fake store writes it into every pixel
                since = info.time_T[position] - info.time_T[0]
                np.testing.assert_allclose(
                    batch["anchor_BV"][row, view], since[0], rtol=1e-6, atol=1e-6
                )
                np.testing.assert_allclose(
                    times[valid_T], since - since[0] * relative, rtol=1e-5, atol=1e-6
                )
                assert not clip[~valid_T].any() and not times[~valid_T].any()


def test_with_drop_each_view_has_frames_of_its_own_that_end_with_the_same_one(store):
    settings = CLIPS | dict(windows=1, drop=0.5)
    whole, some = (take(store, 9, clips=settings | dict(drop=drop)) for drop in (0.0, 0.5))
    differ = 0
    for before, after in zip(whole, some, strict=True):
        assert before["valid_BVT"].shape == (8, 1, 4) and after["valid_BVT"].shape == (8, 2, 4)
        for row, view in np.ndindex(8, 2):
            all_T, seen_T = before["valid_BVT"][row, 0], after["valid_BVT"][row, view]
            position = before["clip_BVTHWC"][row, 0, all_T, 0, 0, 0]
            kept = after["clip_BVTHWC"][row, view, seen_T, 0, 0, 0]
            assert set(kept) <= set(position) and kept[-1] == position[-1]
            assert after["time_BVT"][row, view, 0] == 0  # counts from its own first frame
        differ += (after["valid_BVT"][:, 0] != after["valid_BVT"][:, 1]).any(axis=1).sum()
    assert differ > 10


def test_only_the_split_is_drawn_and_every_series_of_it(store):
    for split in ("train", "val"):
        drawn = np.concatenate([b["series_B"] for b in take(store, 5, split=split)])
        assert set(drawn) == set(store.split(split))


def test_an_epoch_shows_every_series_once_and_the_next_in_another_order(store):
    size = len(store.split("train"))
    drawn = np.concatenate([b["series_B"] for b in take(store, 4 * size, batch_size=1)])
    epochs = drawn.reshape(4, size)
    assert (np.sort(epochs, axis=1) == np.sort(store.split("train"))).all()
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_another_visit_to_a_series_draws_another_clip(store):
    newest = [b["anchor_BV"][0] for b in take(store, 60, batch_size=1) if b["series_B"][0] == 0]
    assert len({tuple(times) for times in newest}) > 1


def test_seeds_differ_and_repeat(store):
    assert_same(take(store, 3, seed=5), take(store, 3, seed=5))
    one, two = (np.concatenate([b["series_B"] for b in take(store, 3, seed=s)]) for s in (5, 6))
    assert (one != two).any()


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_threads_change_nothing(store, threads):
    assert_same(take(store, 6), take(store, 6, threads=threads))


@pytest.mark.parametrize("start", [1, 3, 500])
def test_a_restart_continues_where_it_stopped(store, start):
    if start < 10:
        assert_same(take(store, start + 3)[start:], take(store, 3, start_step=start))
    else:
        assert_same(take(store, 4, start_step=start)[1:], take(store, 3, start_step=start + 1))


@pytest.mark.parametrize("hosts", [2, 4])
@pytest.mark.parametrize("start", [0, 5])
def test_hosts_hold_contiguous_blocks_of_one_global_batch(store, hosts, start):
    whole = take(store, 3, start_step=start)
    parts = [
        take(store, 3, start_step=start, process_index=i, process_count=hosts) for i in range(hosts)
    ]
    joined = [
        {name: np.concatenate([part[step][name] for part in parts]) for name in whole[0]}
        for step in range(3)
    ]
    assert_same(whole, joined)


def test_worker_processes_change_nothing_and_the_arrays_outlive_them(store):
    assert_same(take(store, 5, start_step=2), take(store, 5, start_step=2, workers=2))


def test_a_cohort_smaller_than_the_batch_repeats_its_series(store):
    (batch,) = take(store, 1, split="val", batch_size=16)
    assert len(batch["series_B"]) == 16 and set(batch["series_B"]) == set(store.split("val"))


def test_worker_processes_end_with_a_killed_trainer():
    with _trainer() as (trainer, workers):
        trainer.kill()
        trainer.wait()
        deadline = time.monotonic() + 60
        while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(_alive(pid) for pid in workers)


def test_a_worker_process_outlives_the_thread_that_started_it():
    """Killed with it, and holding a lock, it would be waited for without end."""
    spawn = multiprocessing.get_context("spawn")
    begun, go_on = spawn.Event(), spawn.Event()
    worker = spawn.Process(target=fake_store.linger, args=(begun, go_on), daemon=True)
    thread = threading.Thread(target=lambda: (worker.start(), begun.wait(120)))
    thread.start()
    thread.join()
    assert begun.is_set()
    worker.join(0.5)
    assert worker.is_alive()
    go_on.set()
    worker.join(120)
    assert worker.exitcode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_worker_processes_leave_a_signal_to_all_to_the_trainer(number):
    # As a terminal sends Ctrl-C, and a scheduler SIGTERM. It is the trainer that saves and ends.
    with _trainer() as (trainer, workers):
        for pid in workers:
            os.kill(pid, number)
        out, err = trainer.communicate("go on\n", timeout=120)
        assert (trainer.returncode, out) == (0, "30\n") and "Traceback" not in err, err


@contextmanager
def _trainer():
    """A process that waits with its workers, and the ids of these. None outlives the block."""
    trainer = subprocess.Popen(
        [sys.executable, fake_store.__file__],
        env=os.environ | dict(PYTHONPATH=str(Path(__file__).parent.parent)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    workers = []
    try:
        workers = [int(pid) for pid in trainer.stdout.readline().split()]
        assert workers
        yield trainer, workers
    finally:
        for pid in (trainer.pid, *filter(_alive, workers)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        trainer.communicate()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (dict(split="trian"), 'Did you mean "train"'),
        (dict(batch_size=7, process_count=2), "does not divide among 2 processes"),
        (dict(clips=CLIPS | dict(interval="linear")), "clips.interval"),
    ],
)
def test_a_wrong_setting_is_named(store, wrong, hint):
    with pytest.raises(UserError, match=hint):
        take(store, 1, **wrong)
