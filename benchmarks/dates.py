"""What the dates of visits alone tell of a patient, by how two views of them are drawn.

    python -m benchmarks.dates

A set transformer that sees dates and places, and no image, learns to find the other view of a
patient among those of a batch, as contrastive pretraining does. Each row draws the views in another
way; its top-1 is the mean of the last 100 steps. Chance is 1 / (2 x batch - 1).
"""

import argparse
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import csimclr_te
from tvrl_jax.augment.time import view_times
from tvrl_jax.data.phantom.retina import subject
from tvrl_jax.losses import info_nce
from tvrl_jax.models.build import build

WIDTH = 96
NOISE = {"time_shift": 0.0, "time_scale": 0.25, "time_jitter": 0.1}


class Way(NamedTuple):
    """How the views of a patient are drawn from the visits."""

    origin: str = "window"  # augment.time_origin
    intervals: float = 0.0  # augment.interval_scale
    apart: bool = False  # each older visit in one view only; else in each with probability a half
    together: bool = False  # the visits of a view move up, so that places tell nothing
    own_share: bool = False  # a view lacks a share of visits of its own, uniform in 0 to 1


WAYS = {
    "times of the window, visits in their places": Way(),
    "times from the newest visit, in their places": Way("newest"),
    "the same, and intervals scaled": Way("newest", intervals=0.6),
    "each visit in one view only, in their places": Way(apart=True),
    "times of the window, moved together": Way(together=True),
    "the same, and intervals scaled (phantom_retina)": Way(intervals=0.6, together=True),
    "the same, and each view lacks a share of its own": Way(
        intervals=0.6, together=True, own_share=True
    ),
    "times from the newest visit, moved together": Way("newest", together=True),
    "times from the newest visit, moved together, intervals scaled": Way(
        "newest", intervals=0.6, together=True
    ),
    "each visit in one view only, moved together": Way("newest", apart=True, together=True),
}


def visits(patients: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Years since the first of each patient's last visits [N, T], and which of them there are."""
    time_NT, valid_NT = np.zeros((patients, frames), np.float32), np.zeros((patients, frames), bool)
    for row in range(patients):
        years = subject.draw(0, row, nuisance="mild").visits.years[-frames:]
        time_NT[row, : len(years)] = np.asarray(years) - years[0]
        valid_NT[row, : len(years)] = True
    return time_NT, valid_NT


def draw(key, way: Way, time_BT, valid_BT) -> tuple[jax.Array, jax.Array]:
    """Times and presence of two views, [B, 2, T]; both have the newest visit."""
    frames = time_BT.shape[1]
    keys = jax.random.split(key, 5)
    u_BVT = jax.random.uniform(keys[0], (len(time_BT), 2, frames))
    share_BV1 = jax.random.uniform(keys[4], (len(time_BT), 2, 1))
    kept_BVT = u_BVT < (share_BV1 if way.own_share else 0.5)
    if way.apart:
        kept_BVT = jnp.stack([kept_BVT[:, 0], ~kept_BVT[:, 0]], axis=1)
    newest_BT = jnp.arange(frames) == valid_BT.sum(1, keepdims=True) - 1
    seen_BVT = valid_BT[:, None] & (newest_BT[:, None] | kept_BVT)
    time_BVT = jnp.broadcast_to(time_BT[:, None], seen_BVT.shape)
    if way.together:
        order_BVT = jnp.argsort(~seen_BVT, axis=-1, stable=True)
        time_BVT, seen_BVT = (
            jnp.take_along_axis(x, order_BVT, axis=-1) for x in (time_BVT, seen_BVT)
        )

    def move(*row):
        return view_times(*row, time_origin=way.origin, interval_scale=way.intervals, **NOISE)

    numbers = (
        jax.random.uniform(keys[1], (*seen_BVT.shape[:2], 2)),
        jax.random.uniform(keys[2], seen_BVT.shape),
        jax.random.normal(keys[3], seen_BVT.shape),
    )
    return jax.vmap(jax.vmap(move))(*numbers, time_BVT, seen_BVT), seen_BVT


def network(frames: int):
    """The temporal transformer and head of the retinal comparison."""
    model = dict(csimclr_te.get_config("phantom_retina").model) | {
        "arch": "nano", "image_size": 16, "temporal_width": WIDTH, "temporal_depth": 2,
        "temporal_heads": 3, "head_hidden": 256, "head_width": 64,
    }  # fmt: skip
    return build(frames=frames, channels=1, parts=("projection",), outputs=0, **model)


def learn(way: Way, time_NT, valid_NT, *, steps: int, batch: int, seed: int) -> float:
    """Top-1 at the end."""
    net = network(time_NT.shape[1])
    params, extra = net.init(jax.random.key(seed))
    params = dict(params)
    tx = optax.adamw(optax.warmup_cosine_decay_schedule(2e-4, 2e-3, steps // 10, steps))

    def outcome(params, extra, time_BVT, seen_BVT):
        embedding = []
        for v in range(2):
            blank = jnp.zeros((*time_BVT[:, v].shape, WIDTH))
            token = net.embed_time(params, blank, time_BVT[:, v])
            cls, _ = net.temporal(params, token, seen_BVT[:, v], train=True, key=None)
            e, extra = net.project(params, extra, cls, train=True)
            embedding.append(e)
        every = jnp.ones(len(time_BVT), bool)
        contrast = info_nce(*embedding, every, temperature=0.1)
        return contrast.loss.mean(), (extra, (contrast.closer == 0).mean())

    @jax.jit
    def step(params, extra, opt, number, time_BT, valid_BT):
        views = draw(jax.random.fold_in(jax.random.key(seed + 1), number), way, time_BT, valid_BT)
        gradient, (extra, top1) = jax.grad(outcome, has_aux=True)(params, extra, *views)
        change, opt = tx.update(gradient, opt, params)
        return optax.apply_updates(params, change), extra, opt, top1

    opt, rng, found = tx.init(params), np.random.default_rng(seed), []
    for number in range(steps):
        rows = rng.choice(len(time_NT), batch, replace=False)
        params, extra, opt, top1 = step(params, extra, opt, number, time_NT[rows], valid_NT[rows])
        found.append(top1)
    return float(np.mean(found[-100:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=1500)
    parser.add_argument("--frames", type=int, default=8, help="visits of a window")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = visits(args.patients, args.frames)
    chance = 1 / (2 * args.batch - 1)
    print(f"| what a view shows | top-1 (chance {chance:.3f}) |\n| --- | --- |", flush=True)
    for name, way in WAYS.items():
        top1 = learn(way, *data, steps=args.steps, batch=args.batch, seed=args.seed)
        print(f"| {name} | {top1:.2f} |", flush=True)


if __name__ == "__main__":
    main()
