import jax.numpy as jnp
import numpy as np
import optax
import parity
import pytest

from tvrl_jax import optim

PLAIN = dict(weight_decay=0.05, b1=0.9, b2=0.999, eps=1e-8, clip_norm=0.0, accumulate=1)
RECORDED = {  # name: lr, batch size, epochs, warm-up epochs
    "pretrain_200_20": (2e-4, 128, 200, 20),
    "finetune_100_10": (1e-3, 256, 100, 10),
    "nano_10_3": (1e-3, 256, 10, 3),
}


@pytest.mark.parametrize("epoch", [1, 7])
@pytest.mark.parametrize("name", RECORDED)
def test_schedule_meets_the_recording_at_epoch_starts(parity_dir, name, epoch):
    lr, batch, epochs, warm = RECORDED[name]
    recording = parity.load(parity_dir, "11a_lr_schedule")
    with parity.precision("float64"):
        counts = dict(updates=epochs * epoch, warmup=warm * epoch, epoch=epoch)
        schedule = optim.warmup_cosine(lr * batch / 256, **counts)
        rates = schedule(jnp.arange(epochs) * epoch)
    np.testing.assert_allclose(rates, recording.array[f"out/lr_{name}"], rtol=1e-9)


def schedule_of(steps, **changes):
    settings = dict(lr=1.0, warmup_fraction=0.1, batch_size=256, **PLAIN) | changes
    return optim.make(steps=steps, **settings)[1]


def test_schedule_starts_at_a_tenth_of_the_scaled_peak_and_ends_at_zero():
    rate = schedule_of(1000, batch_size=64)
    rates = np.asarray(rate(jnp.arange(1001)))
    np.testing.assert_allclose([rates[0], rates.max(), rates[-1]], [0.025, 0.25, 0], atol=1e-7)
    assert (np.diff(rates[:100]) > 0).all() and (np.diff(rates[101:]) < 0).all()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_handful_of_steps_has_a_finite_schedule(steps):
    for fraction in (0.0, 0.1, 0.5, 1.0):
        rates = schedule_of(steps, warmup_fraction=fraction)(jnp.arange(steps + 1))
        assert np.isfinite(rates).all() and (rates >= 0).all()


def test_a_warmup_of_one_update_is_a_tenth_and_then_the_peak():
    for updates in (5, 100):
        rate = optim.warmup_cosine(1.0, updates=updates, warmup=1, epoch=1)
        np.testing.assert_allclose(rate(jnp.arange(2)), [0.1, 1.0], atol=1e-6)
    rate = optim.warmup_cosine(1.0, updates=100, warmup=3, epoch=1)
    np.testing.assert_allclose(rate(jnp.arange(4)), [0.1, 0.55, 1.0, 1.0], atol=1e-6)


def run(tx, params, gradients):
    state = tx.init(params)
    for gradient in gradients:
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_adamw_decays_every_parameter_however_small():
    tx, schedule = optim.make(steps=10, batch_size=256, lr=0.1, warmup_fraction=0.0, **PLAIN)
    params = {"bias": jnp.ones(3), "kernel": jnp.ones((2, 2)), "token": jnp.ones(())}
    after = run(tx, params, [{k: jnp.zeros_like(v) for k, v in params.items()}])
    for value in after.values():
        np.testing.assert_allclose(value, 1 - schedule(0) * 0.05, rtol=1e-6)


def test_accumulation_equals_one_step_with_the_mean_gradient():
    gradients = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    settings = dict(batch_size=256, lr=0.1, warmup_fraction=0.5, **PLAIN)
    small, _ = optim.make(steps=8, **settings | {"accumulate": 4})
    large, _ = optim.make(steps=2, **settings)
    one = run(small, jnp.ones(5), gradients)
    two = run(large, jnp.ones(5), gradients.reshape(2, 4, 5).mean(1))
    np.testing.assert_allclose(one, two, rtol=1e-6)
    assert (run(small, jnp.ones(5), gradients[:3]) == 1).all()


def test_clipping_bounds_the_gradient_that_adam_sees():
    settings = dict(steps=10, batch_size=256, lr=0.1, warmup_fraction=0.0, **PLAIN)
    clipped, _ = optim.make(**settings | {"clip_norm": 1.0})
    gradients = jnp.array([[3.0, 4.0], [0.1, 0.1]])
    one = run(clipped, jnp.ones(2), gradients)
    two = run(optim.make(**settings)[0], jnp.ones(2), gradients / jnp.array([[5.0], [1.0]]))
    np.testing.assert_allclose(one, two, rtol=1e-6)
    assert np.abs(one - run(optim.make(**settings)[0], jnp.ones(2), gradients)).max() > 1e-3
