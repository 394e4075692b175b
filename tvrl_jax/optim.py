"""The optimiser and its learning rate."""

import jax.numpy as jnp
import optax


def warmup_cosine(peak: float, *, updates: int, warmup: int, epoch: int) -> optax.Schedule:
    """Learning rate of update k = 0, 1, ...: a tenth of the peak, up to it, then cosine to 0.

    The published rule counts epochs: it reaches the peak in the last warm-up epoch (wu - 1) and
    the first one after (wu) has it too. `epoch` is the updates in an epoch: then the two agree at
    every epoch's start. With epoch = 1 the peak is reached at update `warmup - 1`, but a warm-up of
    a single update (or epoch) starts at a tenth of it all the same, and update 1 has the peak.
    """

    def rate(count):
        count = jnp.asarray(count, float)  # int32 / int would be float32 in a float64 run
        risen = jnp.minimum(count / max(warmup - epoch, 1), 1.0)
        turned = jnp.clip((count - warmup) / max(updates - warmup, 1), 0.0, 1.0)
        rising = peak * (0.1 + 0.9 * risen)
        return jnp.where(count < warmup, rising, 0.5 * peak * (1 + jnp.cos(jnp.pi * turned)))

    return rate


def make(
    *,
    steps: int,
    batch_size: int,
    lr: float,
    warmup_fraction: float,
    weight_decay: float,
    b1: float,
    b2: float,
    eps: float,
    clip_norm: float,
    accumulate: int,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """AdamW with weight decay on every parameter (Loshchilov and Hutter, arXiv 1711.05101).

    Returns the transformation, to be called once a step, and the learning rate as a function of
    the updates done: `accumulate` steps make one update, with the mean of their gradients. The
    peak is lr x batch_size / 256, not changed by accumulation, as published. A run is counted in
    steps, not epochs (see `warmup_cosine`), so that the rate at an epoch's start in the warm-up is
    up to 5 % below the published one.
    """
    updates = max(steps // accumulate, 1)
    warmup = round(warmup_fraction * updates)
    peak = lr * batch_size / 256
    schedule = warmup_cosine(peak, updates=updates, warmup=warmup, epoch=1)
    tx = optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    if clip_norm > 0:
        tx = optax.chain(optax.clip_by_global_norm(clip_norm), tx)
    if accumulate > 1:
        tx = optax.MultiSteps(tx, every_k_schedule=accumulate).gradient_transformation()
    return tx, schedule


def updates_done(opt_state, default):
    """How many updates the schedule has counted: a step that is skipped is none. `default` for an
    optimiser without a schedule."""
    found = optax.tree.get(opt_state, "ScaleByScheduleState")
    return default if found is None else found.count
