"""Clips per second of the augmentation, and its share of a training step of the demo.

    python -m benchmarks.augment                        # configs/demo.py: 48 to 32 pixels
    python -m benchmarks.augment --side=128 --size=128  # without a step

A clip is one view of one series. Both programs run on a random batch; printed are the median and
the range over repeats, which alternate between the two so that other work on the machine hits both.
"""

import argparse
import statistics
import time
from functools import partial

import jax
import numpy as np

from configs import demo
from tvrl_jax import state, step
from tvrl_jax.augment import augment
from tvrl_jax.learner import make_learner
from tvrl_jax.objectives import OBJECTIVES


def random_batch(config, side: int) -> dict:
    """As the pipeline gives it, one window of each series."""
    rng = np.random.default_rng(0)
    batch, frames = config.train.batch_size, config.clips.frames
    time_BVT = np.broadcast_to(np.arange(frames) * 0.04, (batch, 1, frames))
    return jax.device_put(
        dict(
            clip_BVTHWC=rng.integers(
                0, 256, (batch, 1, frames, side, side, config.data.channels), np.uint8
            ),
            time_BVT=time_BVT.astype(np.float32),
            valid_BVT=np.ones((batch, 1, frames), bool),
            subject_B=np.arange(batch, dtype=np.int32),
            series_B=np.arange(batch, dtype=np.int32),
            weight_B=np.ones(batch, np.float32),
        )
    )


def make_step(config, batch: dict):
    """The demo's whole training step, on one state again and again."""
    learner = make_learner(config, OBJECTIVES[config.method], store=None)
    create = jax.jit(partial(state.create, learner.network, learner.tx, config.seed, 0.0))
    return partial(jax.jit(partial(step.train_step, learner)), create(), batch)


def make_augment(config, batch: dict, size: int):
    names = ("clip_BVTHWC", "time_BVT", "valid_BVT")
    function = jax.jit(partial(augment, views=2, size=size, **config.augment))
    return partial(function, jax.random.key(0), *(batch[name] for name in names))


def measure(programs: dict, repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, after one that compiles."""
    seconds = {name: [] for name in programs}
    for run in programs.values():
        jax.block_until_ready(run())
    for _ in range(repeats):
        for name, run in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=0, help="of a stored frame; 0 = the demo's")
    parser.add_argument("--size", type=int, default=0, help="of an augmented frame; 0 = the demo's")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    config = demo.get_config()
    side, size = args.side or config.data.image_size, args.size or config.model.image_size
    batch = random_batch(config, side)
    programs = {"augmentation": make_augment(config, batch, size)}
    if (side, size) == (config.data.image_size, config.model.image_size):
        programs["training step"] = make_step(config, batch)
    seconds = measure(programs, args.repeats)
    for name, values in seconds.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name}: {middle * 1e3:.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f})")
    middle = statistics.median(seconds["augmentation"])
    print(f"{2 * len(batch['weight_B']) / middle:,.0f} clips/s, {side} to {size} pixels")
    if "training step" in seconds:
        share = middle / statistics.median(seconds["training step"])
        print(f"share of a step: {share:.1%}")


if __name__ == "__main__":
    main()
