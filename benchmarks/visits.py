"""What packing visits saves: training steps on the retinal cohort, padded and packed.

    python -m benchmarks.visits [--drop=0]

Both forms take the same batches in turn (the order swapped every round), so that a busy machine
slows both. A clip is one window of one series.
"""

import argparse
import functools
import itertools
import statistics
import time

import jax
import numpy as np

from configs import csimclr_te
from tvrl_jax import sharding, step
from tvrl_jax import state as states
from tvrl_jax.data import opening
from tvrl_jax.data.packing import Packing
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.learner import find_objective, make_learner


def settings(args: argparse.Namespace):
    """The small model of the demonstration, on visits."""
    config = csimclr_te.get_config("phantom_retina")
    config.update_from_flattened_dict(
        {
            "data.root": args.root,
            "data.phantom.subjects": args.subjects,
            "clips.drop": args.drop,
            "model.arch": args.arch,
            "model.image_size": args.size,
            "model.temporal_depth": 2,
            "model.temporal_heads": 3,
            "model.head_hidden": 256,
            "train.batch_size": args.batch_size,
        }
    )
    return config


def read(config, store, count: int, capacities: int) -> list[dict]:
    """The first batches of training, packed unless `capacities` is 0."""
    packing = Packing(jax.device_count(), capacities) if capacities else None
    batches = train_batches(
        store,
        split="train",
        clips=config.clips,
        views=find_objective(config).views,
        batch_size=config.train.batch_size,
        seed=0,
        start_step=0,
        process_index=0,
        process_count=1,
        threads=2,
        workers=0,
        packing=packing,
    )
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def seconds(compiled, state, batches, mesh) -> float:
    start = time.perf_counter()
    for batch in batches:
        state, scalars, _ = compiled(state, sharding.put(batch, mesh))
    jax.block_until_ready(scalars)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data/phantom_retina", help="folder of the cohort")
    parser.add_argument("--subjects", type=int, default=1000)
    parser.add_argument("--arch", default="micro")
    parser.add_argument("--size", type=int, default=64, help="side of the frames, pixels")
    parser.add_argument("--batch_size", type=int, default=32, help="series a step")
    parser.add_argument("--drop", type=float, default=0.5, help="clips.drop, as preset")
    parser.add_argument("--capacities", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="of each form, in a round")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    config = settings(args)
    store = opening.open_cohort(config.data)
    learner = make_learner(config, find_objective(config), store)
    mesh = sharding.make_mesh()
    state = states.create_sharded(
        learner.network, learner.tx, seed=0, ema=0.0, mesh=mesh, kind="data"
    )
    compiled = jax.jit(functools.partial(step.train_step, learner))
    forms = {
        "padded": read(config, store, args.steps, 0),
        "packed": read(config, store, args.steps, args.capacities),
    }
    for batches in forms.values():
        seconds(compiled, state, batches, mesh)  # compiles every length
    rates = {name: [] for name in forms}
    for turn in range(args.rounds):
        for name in list(forms)[:: 1 if turn % 2 else -1]:
            taken = seconds(compiled, state, forms[name], mesh)
            rates[name].append(args.steps * args.batch_size * learner.objective.views / taken)
    report(args, forms, rates)


def report(args, forms, rates) -> None:
    valid = np.stack([batch["valid_BVT"] for batch in forms["padded"]])
    lengths = {batch["packed_GVC"].size for batch in forms["packed"]}
    computed = statistics.mean(batch["packed_GVC"].size for batch in forms["packed"])
    ratio = [b / a for a, b in zip(rates["padded"], rates["packed"], strict=True)]
    print(f"{args.arch}, {args.size} px, {args.batch_size} series a step, {jax.devices()[0]}")
    real, computed = valid.mean(), computed / valid[0].size
    print(f"of a padded batch {real:.0%} are real frames; computed when packed: {computed:.0%}, "
          f"{len(lengths)} lengths; a real frame costs {1 / real:.2f} computed ones when padded, "
          f"{computed / real:.2f} when packed")  # fmt: skip
    for name, rate in rates.items():
        low, high = min(rate), max(rate)
        print(f"{name}: median {statistics.median(rate):.0f} clips/s ({low:.0f} to {high:.0f})")
    print(f"packed / padded: median {statistics.median(ratio):.2f} "
          f"({min(ratio):.2f} to {max(ratio):.2f}) over {len(ratio)} rounds")  # fmt: skip


if __name__ == "__main__":
    main()
