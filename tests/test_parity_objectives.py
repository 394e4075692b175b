"""The learning rules against recorded steps: losses, gradients, BatchNorm, a short training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity import PRECISIONS, assert_group_meets, assert_meets, frames_last, load, precision

from configs.base import get_config
from tvrl_jax import losses, optim
from tvrl_jax.interop.torch_import import from_torch, to_torch
from tvrl_jax.models import encoder
from tvrl_jax.models.build import build
from tvrl_jax.objectives import causal, contrastive, latent, ltn, tvrl, videomae, views

both = pytest.mark.parametrize("kind", PRECISIONS)
LATENT = dict(temperature=0.1, distance="cosine", target_norm="none")
TVRL = dict(LATENT, masked_contrast=True)


def network(*parts, **changes):
    """The recordings' nano model: input as it comes, padded frames counted by BatchNorm."""
    model = get_config().model
    model.update(arch="nano", image_size=32, input_mean=0.0, input_std=1.0, temporal_depth=2)
    model.update(head_hidden=64, batchnorm_padding=True, time_embedding=False)
    model.update(changes)
    return build(frames=8, channels=1, parts=parts, outputs=0, **model)


def loaded(net, recording, dtype):
    """The recorded parameters and statistics in our trees."""
    state = recording.group("param") | recording.group("buffer")
    trees = from_torch(state, *jax.eval_shape(net.init, jax.random.key(0)))
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), trees)


def pair(recording, name, default=None):
    """Both views' arrays, stacked along axis 1."""
    return np.stack([recording.array.get(f"in/{name}{v}", default) for v in (0, 1)], axis=1)


def batch_of(recording, dtype, prefix=""):
    clip = frames_last(pair(recording, f"{prefix}clip"), dtype)
    rows, frames = len(clip), clip.shape[2]
    time = pair(recording, f"{prefix}time", 2.0 * np.tile(np.arange(frames), (rows, 1)))
    return {
        "clip_BVTHWC": jnp.asarray(clip),
        "time_BVT": jnp.asarray(time, dtype),
        "valid_BVT": jnp.asarray(pair(recording, f"{prefix}mask", np.ones((rows, frames), bool))),
        "anchor_BV": jnp.asarray(time[:, :, 0], dtype),  # as published; only differences count
        "subject_B": jnp.arange(rows),
        "weight_B": jnp.ones(rows, dtype),
    }


def check_step(recording, rule, net, batch, dtype):
    """A step's gradients and the BatchNorm statistics after it.

    `rule(params, extra, batch)` -> (outcome, anything else), which are returned.
    """
    params, extra = loaded(net, recording, dtype)

    @jax.jit
    def step(params, extra, batch):
        def scalar(params):
            outcome, more = rule(params, extra, batch)
            return outcome.loss, (outcome, more)

        return jax.grad(scalar, has_aux=True)(params)

    grads, (outcome, more) = step(params, extra, batch)
    assert_group_meets(recording, "grad", to_torch(grads, recording.group("grad")), dtype)
    moved = to_torch(outcome.extra, without_counters(recording.group("buffer_after")))
    assert_group_meets(recording, "buffer_after", moved, dtype)
    return outcome, more


def without_counters(group):
    return {name: x for name, x in group.items() if not name.endswith("num_batches_tracked")}


def evaluate(net, params, extra, batch):
    """Evaluation-mode loss, and feature and embedding of the first view."""
    features, embeddings = [], []
    for v in (0, 1):
        clip, time, valid = (batch[k][:, v] for k in ("clip_BVTHWC", "time_BVT", "valid_BVT"))
        frame, _ = net.spatial(params, extra, clip, valid, train=False, key=None)
        x = net.embed_time(params, frame, time)
        cls, _ = net.temporal(params, x, valid, train=False, key=None)
        if v and "ltn" in params:
            cls = net.shift(params, cls, batch["anchor_BV"][:, 1] - batch["anchor_BV"][:, 0])
        features.append(cls)
        embeddings.append(net.project(params, extra, cls, train=False)[0])
    each = losses.info_nce(*embeddings, jnp.ones(len(cls), bool), temperature=0.1)
    return {"loss": each.loss.mean(), "feature0": features[0], "z0": embeddings[0]}


def check_contrastive(recording, net, loss, kind):
    def rule(params, extra, batch):
        outcome = loss(net, params, extra, batch, None, 0.0, temperature=0.1)
        return outcome, evaluate(net, params, extra, batch)

    with precision(kind) as dtype:
        outcome, evaluated = check_step(recording, rule, net, batch_of(recording, dtype), dtype)
        logged = outcome.metrics
        found = {f"eval_{name}": value for name, value in evaluated.items()} | {
            "train_loss": outcome.loss,
            "train_z0": outcome.embedding_BVE[:, 0],
            "train_z1": outcome.embedding_BVE[:, 1],
            "log_train_acc_top1": logged["top1"],
            "log_train_acc_top5": logged["top5"],
            "log_train_acc_mean_pos": logged["mean_rank"],
        }
        for key, value in found.items():
            assert_meets(recording, f"out/{key}", value, dtype)


@both
def test_contrastive_step(parity_dir, kind):
    recording = load(parity_dir, "06a_simclr_cvrl")
    check_contrastive(recording, network("projection"), contrastive.loss, kind)


@both
def test_latent_time_navigation_step(parity_dir, kind, monkeypatch):
    monkeypatch.setitem(encoder.SIZES, "nano72", encoder.Size(72, 2, 3))
    recording = load(parity_dir, "06c_simclr_ltn")
    check_contrastive(recording, network("projection", "ltn", arch="nano72"), ltn.loss, kind)


def check_latent(recording, outcome, dtype):
    assert_meets(recording, "out/loss", outcome.loss, dtype)
    for name in ("loss_contrastive", "loss_latent"):
        assert_meets(recording, f"out/{name}", outcome.metrics[name], dtype)


@both
def test_tvrl_step(parity_dir, kind):
    recording = load(parity_dir, "17a_tvrl_time_padded")
    net = network("projection", "token", head_norm=False, time_embedding=True)
    masked = jnp.asarray(pair(recording, "token_mask") == 2)

    def rule(params, extra, batch):
        outcome = tvrl.outcome(net, params, extra, batch, masked, 0.5, None, **TVRL)
        feature, _ = views.frame_features(net, params, extra, batch, None)
        cls, _ = tvrl.hide_and_predict(
            net, params, feature, batch, masked, None, masked_contrast=True
        )
        return outcome, (feature, cls)

    with precision(kind) as dtype:
        outcome, seen = check_step(recording, rule, net, batch_of(recording, dtype), dtype)
        check_latent(recording, outcome, dtype)
        for v in (0, 1):
            assert_meets(recording, f"out/spatial{v}", seen[0][:, v], dtype)
            assert_meets(recording, f"out/cls{v}", seen[1][:, v], dtype)
            assert_meets(recording, f"out/z{v}", outcome.embedding_BVE[:, v], dtype)
        check_early(recording, outcome, dtype)


def check_early(recording, outcome, dtype):
    """Before the latent term starts. How far float32 strays is recorded for `out/` only."""
    weight = latent.weight_at(0.49, start_fraction=0.5, latent_weight=0.5)
    contrast = outcome._replace(loss=outcome.metrics["loss_contrastive"])
    early = latent.combine(contrast, outcome.metrics["loss_latent"], weight)
    facts = recording.about["precision"]["per_key_[max_abs_value, fp32_max_abs_err]"]
    _, strayed = facts["out/loss_contrastive"]
    expected = recording.array["out_w0/loss"]
    allowed = {"float32": max(10 * strayed, 2e-6 * expected), "float64": 1e-6 * expected}
    assert abs(early.loss - expected) <= allowed[np.dtype(dtype).name]


@both
def test_causal_step(parity_dir, kind):
    recording = load(parity_dir, "18a_causal_time_padded")
    net = network("projection", "token", head_norm=False, time_embedding=True)

    def rule(params, extra, batch):
        started = dict(latent_weight=0.5, start_fraction=0.5)
        return causal.loss(net, params, extra, batch, None, 0.5, **LATENT, **started), None

    with precision(kind) as dtype:
        outcome, _ = check_step(recording, rule, net, batch_of(recording, dtype), dtype)
        check_latent(recording, outcome, dtype)


@both
def test_videomae_step(parity_dir, kind):
    recording = load(parity_dir, "09a_videomae_pt1")
    decoder = dict(decoder_width=24, decoder_depth=2, decoder_heads=3, tubelet=1)
    net = network("mae", stem="patch", **decoder)

    def rule(params, extra, batch):
        kept = jnp.full(len(batch["noise_BN"]), 3)
        return videomae.outcome(net, params, extra, batch, batch["noise_BN"], kept, 3, None), None

    with precision(kind) as dtype:
        clip = frames_last(recording.array["in/clip"], dtype)[:, None]
        batch = {
            "clip_BVTHWC": jnp.asarray(clip),
            "valid_BVT": jnp.ones(clip.shape[:3], bool),
            "weight_B": jnp.ones(len(clip), dtype),
            "noise_BN": jnp.asarray(recording.array["in/noise"], dtype),
        }
        outcome, _ = check_step(recording, rule, net, batch, dtype)
        assert_meets(recording, "out/loss", outcome.loss, dtype)


@both
def test_five_steps_of_adamw(parity_dir, kind):
    recording = load(parity_dir, "11b_adamw_trajectory_csimclr")
    net = network("projection")
    with precision(kind) as dtype:
        tx, schedule = optim.make(
            steps=10, batch_size=4, lr=0.064, warmup_fraction=0.3, weight_decay=0.05,
            b1=0.9, b2=0.999, eps=1e-8, clip_norm=0.0, accumulate=1,
        )  # fmt: skip

        @jax.jit
        def step(params, extra, opt_state, batch):
            def scalar(params):
                outcome = contrastive.loss(net, params, extra, batch, None, 0.0, temperature=0.1)
                return outcome.loss, outcome

            grads, outcome = jax.grad(scalar, has_aux=True)(params)
            updates, opt_state = tx.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), outcome, opt_state, grads

        params, extra = loaded(net, recording, dtype)
        opt_state, found = tx.init(params), []
        for i in range(5):
            batch = batch_of(recording, dtype, f"b{i}_")
            params, outcome, opt_state, grads = step(params, extra, opt_state, batch)
            extra = outcome.extra
            found.append(outcome.loss)
            if i == 0:
                first = to_torch(grads, recording.group("grad_step1"))
                assert_group_meets(recording, "grad_step1", first, dtype)
        assert_meets(recording, "out/losses", np.stack(found), dtype)
        assert_meets(recording, "out/lrs", schedule(jnp.arange(5)), dtype)
        check_parameters(recording, to_torch(params, recording.group("param_after")), dtype)


def check_parameters(recording, values, dtype):
    """Parameters after training.

    One bias has a mathematically zero gradient and starts at zero: what Adam makes of it is
    rounding (4e-9 in the recording, and up to the learning rate in float32, where it is skipped).
    It need only be tiny, like its gradient.
    """
    zero = recording.about["precision"]["mathematically_zero_keys"]
    for name, value in values.items():
        if f"grad_step1/{name}" not in zero:
            assert_meets(recording, f"param_after/{name}", value, dtype)
        elif dtype == np.float64:
            assert np.abs(value).max() <= 1e-7, name
