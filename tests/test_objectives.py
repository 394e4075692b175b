"""Laws of the learning rules, on a tiny model of 16 px frames and four-frame clips."""

import functools
import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pico
import pytest
from ml_collections import ConfigDict

from configs import base
from tvrl_jax import state as states
from tvrl_jax import step
from tvrl_jax.data.packing import Packing, capacity, places
from tvrl_jax.errors import UserError
from tvrl_jax.models.build import build
from tvrl_jax.objectives import OBJECTIVES, causal, contrastive, latent, supervised, tvrl, views

ROWS, FRAMES, SIDE = 4, 4, 16
IN_VIEWS = ("clip_BVTHWC", "time_BVT", "valid_BVT", "anchor_BV")
LATENT = dict(temperature=0.1, distance="cosine", target_norm="none")
TVRL = dict(LATENT, masked_contrast=True)
# One of each rule; cvrl and csimclr share theirs with csimclr_te.
RULES = ("csimclr_te", "ltn", "videomae", "tvrl", "causal", "supervised")
WITH_BATCHNORM = ("csimclr_te", "tvrl")  # the others with linear patches, which compile sooner


def config_of(method) -> ConfigDict:
    config = importlib.import_module(f"configs.{method}").get_config()
    config.model.update(arch=pico.ARCH, image_size=SIDE, temporal_depth=1, temporal_heads=2)
    config.model.update(head_hidden=16, head_width=8, dropout=0.0)
    config.model.head_norm = method in WITH_BATCHNORM
    config.model.update(decoder_width=12, decoder_depth=1, decoder_heads=3)
    if method == "videomae":
        config.model.patch_size = 4
    elif method not in WITH_BATCHNORM:
        config.model.stem = "patch"
    if method == "supervised":
        labels = np.array([[1.0, 0], [3, 2], [5, 1]])
        config.objective.update(supervised.constants(labels, classes=(0, 3)))
    return config


@functools.cache
def network(method):
    """-> (network, params, extra): parameters at random, none of them at its start of zero."""
    model = config_of(method).model
    outputs = supervised.outputs((0, 3))
    parts = OBJECTIVES[method].parts
    net = build(frames=FRAMES, channels=1, parts=parts, outputs=outputs, **model)
    params, extra = jax.eval_shape(net.init, jax.random.key(0))
    return net, pico.at_random(params, np.random.default_rng(1)), pico.at_rest(extra)


def batch_of(views_=2, seed=0):
    """Row 1 is a clip of two frames, right-padded."""
    rng = np.random.default_rng(seed)
    valid = np.ones((ROWS, views_, FRAMES), bool)
    valid[1, :, 2:] = False
    clip = rng.random((ROWS, views_, FRAMES, SIDE, SIDE, 1), np.float32)
    time = np.tile(np.arange(FRAMES, dtype=np.float32), (ROWS, views_, 1))
    return {
        "clip_BVTHWC": clip * valid[..., None, None, None],
        "time_BVT": time * valid,
        "valid_BVT": valid,
        "anchor_BV": rng.random((ROWS, views_)).astype(np.float32),
        "subject_B": np.arange(ROWS, dtype=np.int32),
        "weight_B": np.ones(ROWS, np.float32),
        "target_BK": np.array([[1, 0], [2, np.nan], [np.nan, 2], [4, 1]], np.float32),
    }


@functools.cache
def step_of(method):
    """Compiled (params, extra, batch, progress) -> (gradients, Outcome)."""
    net = network(method)[0]
    settings = config_of(method).objective

    @jax.jit
    def step(params, extra, batch, progress):
        def scalar(params):
            rule = OBJECTIVES[method].loss
            outcome = rule(net, params, extra, batch, jax.random.key(7), progress, **settings)
            return outcome.loss, outcome

        return jax.grad(scalar, has_aux=True)(params)

    return step


def run(method, batch, progress=0.7):
    _, params, extra = network(method)
    return step_of(method)(params, extra, batch, progress)


def assert_same(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def largest(tree) -> float:
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("method", RULES)
def test_padding_changes_neither_loss_nor_gradient(method):
    batch = batch_of(OBJECTIVES[method].views)
    noise = np.random.default_rng(5).random(batch["clip_BVTHWC"].shape, np.float32)
    padded = ~batch["valid_BVT"]
    spoilt = batch | {
        "clip_BVTHWC": np.where(padded[..., None, None, None], noise, batch["clip_BVTHWC"]),
        "time_BVT": np.where(padded, np.float32(77), batch["time_BVT"]),
    }
    (grads, outcome), (grads_spoilt, outcome_spoilt) = run(method, batch), run(method, spoilt)
    np.testing.assert_allclose(outcome.loss, outcome_spoilt.loss, rtol=1e-6)
    assert_same(grads, grads_spoilt, atol=1e-5 * largest(grads))
    assert largest(grads) > 0


@pytest.mark.parametrize("method", [rule for rule in RULES if rule != "videomae"])
def test_packed_frames_give_the_padded_loss_gradient_and_statistics(method):
    batch = batch_of(OBJECTIVES[method].views)
    batch["valid_BVT"][2, 0, 2:] = False
    batch["valid_BVT"][3, -1, 1:] = False  # views need not be of one length
    packing = Packing(groups=2, capacities=4)
    length = capacity(batch["valid_BVT"], packing)
    assert length < ROWS // packing.groups * FRAMES  # some padding is left out, some is filled in
    assert batch["valid_BVT"].sum() < 2 * length * batch["valid_BVT"].shape[1]
    packed = batch | {"packed_GVC": places(batch["valid_BVT"], packing.groups, length)}
    (grads, outcome), (grads_packed, outcome_packed) = run(method, batch), run(method, packed)
    np.testing.assert_allclose(outcome.loss, outcome_packed.loss, rtol=1e-5)
    # Sums in another order; measured: up to 3.6e-5 with jax 0.12, less with 0.10.
    assert_same(grads, grads_packed, atol=1e-4 * largest(grads))
    assert_same(outcome.extra, outcome_packed.extra, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", RULES)
def test_rows_of_weight_zero_change_nothing(method):
    batch, other = batch_of(OBJECTIVES[method].views), batch_of(OBJECTIVES[method].views, seed=9)
    batch["weight_B"] = np.array([1, 1, 1, 0], np.float32)
    changed = {k: np.concatenate([v[:3], other[k][3:]]) for k, v in batch.items()}
    changed["weight_B"] = batch["weight_B"]
    changed["subject_B"] = np.array([0, 1, 2, 1], np.int32)
    (grads, outcome), (grads_changed, outcome_changed) = run(method, batch), run(method, changed)
    np.testing.assert_allclose(outcome.loss, outcome_changed.loss, rtol=1e-6)
    assert_same(outcome.metrics, outcome_changed.metrics, rtol=1e-5, atol=1e-6)
    assert_same(grads, grads_changed, atol=1e-5 * largest(grads))
    assert_same(outcome.extra, outcome_changed.extra, rtol=1e-6)
    counted = run(method, batch | {"weight_B": np.ones(ROWS, np.float32)})[1]
    assert abs(counted.loss - outcome.loss) > 1e-4


@pytest.mark.parametrize("method", RULES)
def test_a_batch_in_which_nothing_counts_is_finite(method):
    batch = batch_of(OBJECTIVES[method].views) | {"weight_B": np.zeros(ROWS, np.float32)}
    grads, outcome = run(method, batch)
    assert outcome.loss == 0
    assert largest(grads) == 0


@pytest.mark.parametrize("method", tuple(OBJECTIVES))
def test_a_configuration_fits_its_rule(method):
    config, objective = config_of(method), OBJECTIVES[method]
    wanted = inspect.signature(objective.loss).parameters.values()
    assert set(config.objective) == {
        p.name for p in wanted if p.kind == p.KEYWORD_ONLY and p.default is p.empty
    }
    assert config.method == method
    assert config.clips.windows == objective.windows
    assert config.model.time_embedding == (method in ("csimclr_te", "tvrl", "causal", "supervised"))
    assert set(config) == set(base.get_config())


def test_a_method_keeps_what_is_the_cohorts_own():
    ours = importlib.import_module("configs.tvrl").get_config("lung_ultrasound")
    assert (ours.augment.vflip, ours.model.input_mean) == (0.0, 0.23)
    with pytest.raises(UserError, match="lung_ultrasound"):
        importlib.import_module("configs.tvrl").get_config("lung_ultrasond")


@pytest.mark.parametrize("method", ["csimclr_te", "ltn", "tvrl", "causal"])
def test_what_a_contrastive_step_logs(method):
    _, outcome = run(method, batch_of())
    assert outcome.embedding_BVE.shape == (ROWS, 2, 8)
    logged = {"loss_contrastive", "top1", "top5", "mean_rank", "inter_cosine", "intra_cosine"}
    assert logged <= set(outcome.metrics)
    for value in outcome.metrics.values():
        assert value.shape == () and np.isfinite(value)


def test_two_windows_differ_and_one_window_does_not():
    """CVRL's views are two windows; were they the same, their embeddings would be too."""
    windows = {name: rule.windows for name, rule in OBJECTIVES.items()}
    assert {name for name, count in windows.items() if count == 2} == {"cvrl", "ltn"}
    batch = batch_of()
    two = run("csimclr_te", batch)[1]
    same = {k: np.stack([v[:, 0]] * 2, 1) if k in IN_VIEWS else v for k, v in batch.items()}
    one = run("csimclr_te", same)[1]
    np.testing.assert_allclose(one.metrics["intra_cosine"], 1, rtol=1e-5)
    assert two.metrics["intra_cosine"] < 0.9999


def test_time_is_seen_by_a_rule_with_time_embedding():
    batch = batch_of()
    later = batch | {"time_BVT": batch["time_BVT"] * 3}
    assert abs(run("csimclr_te", batch)[1].loss - run("csimclr_te", later)[1].loss) > 1e-4


def test_latent_time_navigation_moves_view_1_by_the_time_between():
    batch = batch_of()
    newest = batch["anchor_BV"]
    still = run("ltn", batch | {"anchor_BV": 0 * newest})[1].embedding_BVE
    moved = run("ltn", batch | {"anchor_BV": newest})[1].embedding_BVE
    back = run("ltn", batch | {"anchor_BV": newest[:, ::-1].copy()})[1].embedding_BVE
    np.testing.assert_array_equal(still[:, 0], moved[:, 0])
    assert np.abs(still[:, 1] - moved[:, 1]).max() > 1e-4
    np.testing.assert_array_equal(moved, back)  # |dt|: only how far apart, not which is first


@functools.cache
def latent_step():
    """Compiled (params, batch, masked) -> (gradients of TVRL's latent term alone, Outcome)."""
    net, _, extra = network("tvrl")

    @jax.jit
    def step(params, batch, masked_BVT):
        def scalar(params):
            outcome = tvrl.outcome(net, params, extra, batch, masked_BVT, 1.0, None, **TVRL)
            return outcome.loss, outcome

        return jax.grad(scalar, has_aux=True)(params)

    return step


def frame_features(batch):
    net, params, extra = network("tvrl")
    return jax.jit(lambda batch: views.frame_features(net, params, extra, batch, None)[0])(batch)


def some_masked(batch):
    masked = np.zeros((ROWS, 2, FRAMES), bool)
    masked[:, 0, 1] = masked[0, 1, 2] = masked[2, 1, :2] = True
    return masked & batch["valid_BVT"]


def test_tvrl_target_is_the_masked_frames_own_feature():
    """It depends on the image, and it is neither the mask token nor that plus a position."""
    net, params, _ = network("tvrl")
    batch, other = batch_of(), batch_of(seed=9)
    masked, feature = some_masked(batch), frame_features(batch)
    given = batch | {"latent_target_BVTD": feature}
    _, outcome = latent_step()(params, batch, masked)
    _, outcome_given = latent_step()(params, given, masked)
    np.testing.assert_allclose(
        outcome.metrics["loss_latent"], outcome_given.metrics["loss_latent"], rtol=1e-6
    )
    target = latent.target_of(feature, batch, target_norm="none")
    assert (
        np.abs(target - latent.target_of(frame_features(other), other, target_norm="none"))[
            masked
        ].max()
        > 1e-2
    )
    token = net.mask_token(params)
    positions = params["encoder"]["embed"]["positions"]
    assert np.abs(target - token)[masked].max() > 1e-2
    assert np.abs(target - token - positions)[masked].max() > 1e-2
    _, swapped = latent_step()(params, batch | {"latent_target_BVTD": feature[::-1]}, masked)
    assert abs(swapped.metrics["loss_latent"] - outcome.metrics["loss_latent"]) > 1e-6


def test_a_target_normalised_over_the_batch_has_nothing_that_all_frames_share():
    batch, rng = batch_of(), np.random.default_rng(3)
    batch["weight_B"] = np.array([1, 1, 1, 0], np.float32)
    feature = rng.normal(size=(ROWS, 2, FRAMES, 5)).astype(np.float32)
    counted = batch["valid_BVT"] & (batch["weight_B"] > 0)[:, None, None]
    found = latent.target_of(feature, batch, target_norm="batch")
    shown = feature[counted]
    expected = (shown - shown.mean(0)) / np.sqrt(shown.var(0) + 1e-5)
    np.testing.assert_allclose(found[counted], expected, atol=1e-5)
    shifted = np.where(counted[..., None], feature + 50, 1e3)  # padding has no say
    moved = latent.target_of(shifted, batch, target_norm="batch")
    np.testing.assert_allclose(moved[counted], found[counted], atol=1e-3)


def test_a_target_normalised_over_the_clip_has_nothing_that_its_frames_share():
    batch, rng = batch_of(), np.random.default_rng(4)
    feature = rng.normal(size=(ROWS, 2, FRAMES, 5)).astype(np.float32)
    of_subject = 9 * rng.normal(size=(ROWS, 2, 1, 5)).astype(np.float32)
    found = latent.target_of(feature, batch, target_norm="clip")
    moved = latent.target_of(feature + of_subject, batch, target_norm="clip")
    valid = batch["valid_BVT"]
    np.testing.assert_allclose(moved[valid], found[valid], atol=1e-4)
    mean = (found * valid[..., None]).sum(2) / valid.sum(2)[..., None]
    np.testing.assert_allclose(mean, 0, atol=1e-5)


def test_the_averaged_encoder_is_normalised_by_the_batch_as_the_learning_one_is():
    """Running statistics, which are those of the learning encoder, have no say."""
    net, params, extra = network("tvrl")
    far = jax.tree.map(lambda x: 3 * x + 1, extra)
    state = states.State(jnp.int32(0), params, far, (), params["encoder"])
    batch = batch_of()
    batch["weight_B"] = np.array([1, 1, 1, 0], np.float32)
    expected = views.frame_features(net, params, extra, batch, None)[0]
    found = step.averaged_features(net, state, batch)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_clip_of_one_frame_has_no_change_to_predict():
    """Its feature less its mean is rounding, which a cosine would take for a direction."""
    batch, rng = batch_of(), np.random.default_rng(4)
    batch["valid_BVT"][1, :, 1:] = False
    feature = rng.normal(size=(ROWS, 2, FRAMES, 5)).astype(np.float32)
    prediction = rng.normal(size=feature.shape).astype(np.float32)
    target = latent.target_of(feature, batch, target_norm="clip")
    told = latent.told(batch, target_norm="clip")
    slope = jax.grad(latent.error)(prediction, target, told, distance="cosine")
    others = np.array([0, 2, 3])
    assert not np.any(slope[1]) and np.all(np.any(slope[others], axis=-1))
    alone = {name: value[others] for name, value in batch.items()}
    without = latent.target_of(feature[others], alone, target_norm="clip")
    np.testing.assert_allclose(target[others], without, atol=1e-5)
    np.testing.assert_array_equal(latent.told(batch, target_norm="none"), batch["valid_BVT"])


def test_an_unknown_normalisation_is_named():
    with pytest.raises(UserError, match=r'target_norm = "btch".*batch'):
        latent.target_of(jnp.zeros((1, 1, 1, 2)), batch_of(), target_norm="btch")


def test_tvrl_context_teaches_the_spatial_encoder_and_its_target_does_not():
    _, params, _ = network("tvrl")
    batch = batch_of()
    grads, _ = latent_step()(params, batch, some_masked(batch))
    assert largest(grads["encoder"]["spatial"]) > 1e-6
    # With every frame masked, images enter through the targets alone.
    grads, outcome = latent_step()(params, batch, batch["valid_BVT"])
    assert abs(outcome.metrics["loss_latent"]) > 1e-3
    assert largest(grads["encoder"]["spatial"]) == 0
    assert largest(grads["token"]) > 1e-6


def test_tvrl_without_a_masked_frame_has_no_latent_loss():
    _, params, _ = network("tvrl")
    grads, outcome = latent_step()(params, batch_of(), np.zeros((ROWS, 2, FRAMES), bool))
    assert outcome.loss == outcome.metrics["loss_latent"] == 0
    assert np.isfinite(outcome.metrics["loss_contrastive"])
    assert largest(grads) == 0


def test_tvrl_contrast_is_blind_to_masked_frames():
    net, params, _ = network("tvrl")
    batch = batch_of()
    masked, feature = some_masked(batch), frame_features(batch)
    noise = np.random.default_rng(3).normal(size=feature.shape).astype(np.float32)

    @jax.jit
    def both(feature):
        return tvrl.hide_and_predict(
            net, params, feature, batch, masked, None, masked_contrast=True
        )

    spoilt = jnp.where(masked[..., None], noise, feature)
    assert_same(both(feature), both(spoilt), rtol=0)


def test_tvrl_contrast_may_see_all_frames_and_then_is_that_of_csimclr_te():
    net, params, extra = network("tvrl")
    batch = batch_of()
    masked = some_masked(batch)

    @jax.jit
    def both(batch):
        rule = dict(LATENT, masked_contrast=False)
        hidden = tvrl.outcome(net, params, extra, batch, masked, 0.5, None, **rule)
        plain = contrastive.loss(net, params, extra, batch, None, 0.0, temperature=0.1)
        return hidden, plain

    hidden, plain = both(batch)
    # BatchNorm over four rows amplifies how sums of another order are rounded.
    assert_same(hidden.metrics["loss_contrastive"], plain.loss, rtol=5e-5)
    assert_same(hidden.embedding_BVE, plain.embedding_BVE, atol=5e-4)
    _, blind = latent_step()(params, batch, masked)
    assert_same(hidden.metrics["loss_latent"], blind.metrics["loss_latent"], rtol=1e-6)
    assert abs(blind.metrics["loss_contrastive"] - plain.loss) > 1e-3


@pytest.mark.parametrize("method", ["tvrl", "causal"])
def test_the_latent_term_starts_where_the_configuration_says(method):
    settings = config_of(method).objective
    assert settings.start_fraction == 0.5
    for progress, weight in ((0.0, 0.0), (0.499, 0.0), (0.5, 0.5), (1.0, 0.5)):
        logged = run(method, batch_of(), progress)[1]
        parts = logged.metrics["loss_contrastive"], logged.metrics["loss_latent"]
        expected = (1 - weight) * parts[0] + weight * parts[1]
        np.testing.assert_allclose(logged.loss, expected, rtol=1e-6)


@pytest.mark.parametrize("frame", range(FRAMES))
def test_causal_predictions_have_no_gradient_from_later_frames(frame):
    gradient = causal_gradient()(batch_of()["clip_BVTHWC"], frame)
    per_frame = np.abs(gradient).max(axis=(0, 1, 3, 4, 5))
    assert (per_frame[frame + 1 :] == 0).all()
    assert (per_frame[: frame + 1] > 0).all()


@functools.cache
def causal_gradient():
    """d (prediction made at a frame) / d clip; in training mode BatchNorm would link all frames."""
    net, params, extra = network("causal")
    batch = batch_of()
    valid, time = np.ones((ROWS, FRAMES), bool), batch["time_BVT"]

    def total(clip_BVTHWC, frame):
        feature_BTD, _ = net.spatial(params, extra, clip_BVTHWC[:, 0], valid, train=False, key=None)
        x = net.embed_time(params, feature_BTD, time[:, 0])[:, None]
        prediction = causal.predict_next(net, params, x, valid[:, None], None)
        return jnp.sum(jnp.sin(prediction[:, 0, frame]))

    return jax.jit(jax.grad(total))


def test_causal_pairs_need_two_valid_frames():
    batch = batch_of() | {"weight_B": np.array([1, 1, 1, 0], np.float32)}
    pairs = np.asarray(causal.pairs({k: jnp.asarray(v) for k, v in batch.items()}))
    np.testing.assert_array_equal(pairs[:, 0].sum(1), [3, 1, 3, 0])


def test_latent_distances_by_hand():
    prediction = jnp.array([[[[1.0, 0.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 0.0]]]])
    target = jnp.array([[[[2.0, 0.0], [0.0, 0.0]], [[0.0, -1.0], [0.0, 0.0]]]])
    counted = jnp.array([[[True, False], [True, False]]])
    assert latent.error(prediction, target, counted, distance="cosine") == 0
    one = counted & jnp.array([True, False])[None, :, None]
    assert latent.error(prediction, target, one, distance="cosine") == -0.5  # the other view: 0
    smooth = latent.error(prediction, target, counted, distance="smooth_l1")
    np.testing.assert_allclose(smooth, (0.25 + 1.25) / 2)
    with pytest.raises(UserError, match="smooth_l1"):
        latent.error(prediction, target, counted, distance="smooth_l2")


def test_supervised_without_any_label_learns_nothing():
    batch = batch_of(1) | {"target_BK": np.full((ROWS, 2), np.nan, np.float32)}
    grads, outcome = run("supervised", batch)
    assert outcome.loss == 0 and largest(grads) == 0


def test_supervised_constants_come_from_the_known_labels():
    target = np.array([[1.0, 0], [np.nan, 1], [5, np.nan]])
    found = supervised.constants(target, classes=(0, 2))
    assert found == {"classes": (0, 2), "centre": (3.0, 0.0), "scale": (2.0, 1.0)}
    assert supervised.outputs((0, 2)) == 3
    with pytest.raises(UserError, match=r"data\.targets"):
        supervised.constants(np.zeros((3, 0)), classes=())


def test_dropout_keys_reach_the_encoder():
    assert views.keys(None, 3) == [None] * 3
    a, b = views.keys(jax.random.key(0), 2)
    assert (jax.random.key_data(a) != jax.random.key_data(b)).any()


def test_the_latent_term_begins_with_the_step_that_its_fraction_names():
    """Compiled, as in training: there a quotient may lie a rounding below the fraction."""
    progress = jax.jit(step.progress, static_argnums=1)
    for steps in (110, 1000, 1700, 5000, 20_000):
        for percent in (10, 20, 30, 40, 50, 70, 100):
            weight = latent.weight_at(
                progress(jnp.arange(steps), steps), start_fraction=percent / 100, latent_weight=0.5
            )
            assert int((weight == 0).sum()) == steps * percent // 100
