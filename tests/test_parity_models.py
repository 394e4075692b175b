"""The published modules' recorded numbers: forward, gradients and BatchNorm updates."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from parity import PRECISIONS, assert_group_meets, assert_meets, frames_last, load, precision

from configs.base import get_config
from tvrl_jax import inference
from tvrl_jax.interop.torch_import import flatten, from_torch, is_unused, our_path, to_torch
from tvrl_jax.masking import kept_count
from tvrl_jax.models import positions, sizes, spatiotemporal, videomae, vit
from tvrl_jax.models.build import build
from tvrl_jax.models.stem import patchify
from tvrl_jax.probing import stats

both = pytest.mark.parametrize("kind", PRECISIONS)


def network(parts=(), outputs=0, **changes):
    """The recordings' nano models: no standardisation, padded frames counted by BatchNorm."""
    model = get_config().model
    model.update(
        arch="nano", image_size=32, input_mean=0.0, input_std=1.0, temporal_depth=2, tubelet=1,
        head_hidden=64, batchnorm_padding=True, decoder_width=24, decoder_depth=2, decoder_heads=3,
    )  # fmt: skip
    model.update(changes)
    return build(frames=8, channels=1, parts=parts, outputs=outputs, **model)


def loaded(net, recording, prefix, dtype):
    """The recorded parameters and statistics in our trees."""
    state = named(recording, ("param", "buffer"), prefix)
    params, extra = from_torch(state, *jax.eval_shape(net.init, jax.random.key(0)))
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), (params, extra))


def named(recording, groups, prefix):
    """Recorded arrays under the names that they have inside a whole method."""
    return {prefix + k: v for group in groups for k, v in recording.group(group).items()}


def check(recording, prefix, dtype, **trees):
    """Our trees, under the torch names, meet the groups that they are named after."""
    for group, tree in trees.items():
        ours = to_torch(tree, named(recording, (group,), prefix))
        ours = {k.removeprefix(prefix): v for k, v in ours.items()}
        assert_group_meets(recording, group, ours, dtype)


def outputs_meet(recording, dtype, **outputs):
    for name, value in outputs.items():
        assert_meets(recording, f"out/{name}", value, dtype)


def lone_vit(recording, dtype, **fields):
    """-> (run, params, the ViT bound to them); run gives the tokens and the statistics after."""
    module = vit.ViT(48, 2, 3, dropout=0, drop_path=0, remat="none", dtype=None, **fields)
    clip = jnp.zeros((1, fields["grid"][0], 32, 32, 1))
    start = functools.partial(module.init, train=False, key=None)
    shapes = jax.eval_shape(start, jax.random.key(0), clip)
    empty = [{"encoder": {"vit": shapes.get(kind, {})}} for kind in ("params", "batch_stats")]
    state = named(recording, ("param", "buffer"), "mae.encoder.")
    params, extra = jax.tree.map(lambda x: jnp.asarray(x, dtype), from_torch(state, *empty))

    def run(params, clip, mask, train):
        variables = {"params": params["encoder"]["vit"], "batch_stats": extra["encoder"]["vit"]}
        out, moved = module.apply(
            variables, clip, mask, train=train, key=None, mutable=["batch_stats"]
        )
        return out, {"encoder": {"vit": moved.get("batch_stats", {})}}

    bound = module.bind(
        {"params": params["encoder"]["vit"], "batch_stats": extra["encoder"]["vit"]},
        mutable=["intermediates"],
    )
    return run, params, bound


def check_vit(recording, dtype, **fields):
    run, params, bound = lone_vit(recording, dtype, **fields)
    clip = frames_last(recording.array["in/x"], dtype)
    weight = recording.array["in/w"].astype(dtype)
    mask = recording.array.get("in/attn_mask")
    mask = None if mask is None else np.repeat(mask, 4, axis=1)

    def train_loss(params, clip):
        out, moved = run(params, clip, mask, True)
        return (out[:, 0] * weight).sum(), (out[:, 0], moved)

    def eval_loss(params):
        out, _ = run(params, clip, mask, False)
        return (out[:, 1:].mean(1) * weight).sum(), out

    grads, (cls, moved) = jax.jit(jax.grad(train_loss, (0, 1), has_aux=True))(params, clip)
    outputs_meet(recording, dtype, train_cls=cls)
    assert_meets(recording, "grad_in/x", np.moveaxis(grads[1], -1, 1), dtype)
    check(recording, "mae.encoder.", dtype, grad=grads[0], buffer_after=moved)
    pooled, out = jax.jit(jax.grad(eval_loss, has_aux=True))(params)
    if mask is not None:
        means = dict(eval_cls_masked=out[:, 0], eval_pool_masked=out[:, 1:].mean(1))
        outputs_meet(recording, dtype, **means)
        out, _ = jax.jit(functools.partial(run, mask=None, train=False))(params, clip)
    else:
        check(recording, "mae.encoder.", dtype, grad_eval_pool=pooled)
    means = dict(eval_cls=out[:, 0], eval_pool=out[:, 1:].mean(1))
    outputs_meet(recording, dtype, tokens_forward_features_eval=out, **means)
    patches = bound.patches(jnp.asarray(clip), train=False)
    outputs_meet(recording, dtype, patch_embed_eval=patches)
    return bound, clip, mask


@both
def test_spatial_vit_with_conv_stem(parity_dir, kind):
    recording = load(parity_dir, "01a_videovit_convstem_t1")
    with precision(kind) as dtype:
        check_vit(recording, dtype, grid=(1, 2, 2), stem="conv", patch=(1, 16, 16))


@both
def test_vit_with_linear_patches_and_hidden_frames(parity_dir, kind):
    recording = load(parity_dir, "02a_videovit_cuboids_pt1")
    with precision(kind) as dtype:
        fields = dict(grid=(8, 2, 2), stem="patch", patch=(1, 16, 16))
        bound, clip, mask = check_vit(recording, dtype, **fields)
        # The reference's forward_features ignores the mask that it is given.
        out = bound(clip, None, train=False, key=None)
        outputs_meet(recording, dtype, forward_features_masked_eval=out)
        bound(clip, mask, train=False, key=None)
        sown = bound.variables["intermediates"]["blocks"]["block1"]["attn"]["attention"]
        outputs_meet(recording, dtype, last_attention_masked_eval=sown[-1])
        seen = np.pad(mask, ((0, 0), (1, 0)), constant_values=True)
        np.testing.assert_array_equal(seen, recording.array["out/expanded_mask"])


@both
@pytest.mark.parametrize(("size", "grid"), [("t4", (4, 2, 2)), ("48", (8, 3, 3))])
def test_vit_at_another_size(parity_dir, kind, size, grid):
    recording = load(parity_dir, "02a_videovit_cuboids_pt1")
    with precision(kind) as dtype:
        fields = dict(grid=(8, 2, 2), stem="patch", patch=(1, 16, 16))
        run, params, bound = lone_vit(recording, dtype, **fields)
        first, rest = bound.positions[:1], bound.positions[1:]
        found = jnp.concatenate([first, positions.resize(rest, (8, 2, 2), grid)])[None]
        clip = frames_last(recording.array[f"in/x_{size}"], dtype)
        out, _ = jax.jit(functools.partial(run, mask=None, train=False))(params, clip)
        outputs = {f"pos_embed_{size}": found, f"eval_cls_{size}": out[:, 0]}
        if size == "t4":
            outputs["eval_tokens_t4"] = out
        outputs_meet(recording, dtype, **outputs)


@both
def test_time_embedding(parity_dir, kind):
    recording = load(parity_dir, "03a_time_embedding_learnable")
    time = recording.array["in/times"]
    with precision(kind) as dtype:
        module = spatiotemporal.TimeEmbedding(48, 100.0, None)
        template = jax.eval_shape(module.init, jax.random.key(0), time)["params"]
        state = named(recording, ("param",), "time_embed.")
        params, _ = from_torch(state, {"ltn": {"time": template}}, {})
        params = jax.tree.map(lambda x: jnp.asarray(x, dtype), params)
        weight = recording.array["in/w"].astype(dtype)

        def loss(params):
            out = module.apply({"params": params["ltn"]["time"]}, time)
            return (out[:, :6] * weight[:, :6]).sum(), out

        grad, out = jax.jit(jax.grad(loss, has_aux=True))(params)
        waves = jax.jit(spatiotemporal.waves, static_argnums=(1, 2))(time, 48, 100.0)
        assert waves.dtype == jnp.float32
        np.testing.assert_allclose(waves, recording.array["out/sincos_float32"], atol=1.2e-7)
        outputs_meet(recording, dtype, embedding=out)
        check(recording, "time_embed.", dtype, grad=grad)


def encode(net, params, extra, clip, time, mask, train=False):
    """-> (frame features, embedded, CLS, tokens, BatchNorm statistics after)."""
    feature, extra = net.spatial(params, extra, clip, mask, train=train, key=None)
    embedded = net.embed_time(params, feature, time)
    cls, token = net.temporal(params, embedded, mask, train=train, key=None)
    return feature, embedded, cls, token, extra


def masked_mean(token_BTD, mask_BT):
    weight = mask_BT[..., None].astype(token_BTD.dtype)
    return (token_BTD * weight).sum(1) / weight.sum(1)


@both
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("04b_stencoder_time_learnable", {}),
        ("04d_stencoder_tdim24_pospatched", dict(temporal_width=24)),
    ],
)
def test_spatiotemporal_encoder(parity_dir, kind, name, changes):
    recording = load(parity_dir, name)
    time, mask = (recording.array[f"in/{key}"] for key in ("time_step", "attn_mask"))
    with precision(kind) as dtype:
        net = network(time_embedding=True, **changes)
        params, extra = loaded(net, recording, "encoder.", dtype)
        clip = frames_last(recording.array["in/x"], dtype)
        weight = recording.array["in/w"].astype(dtype)

        def train_loss(params):
            _, _, cls, _, moved = encode(net, params, extra, clip, time, mask, train=True)
            return (cls * weight).sum(), (cls, moved)

        def eval_loss(params):
            feature, embedded, cls, token, _ = encode(net, params, extra, clip, time, mask)
            pooled = masked_mean(token, mask)
            bare_cls, bare = net.temporal(params, feature, mask, train=False, key=None)
            open_cls = net.temporal(params, embedded, mask | True, train=False, key=None)[0]
            out = dict(
                eval_spatial_clean=feature,
                eval_spatial_after_temporal_call=embedded,
                eval_returned_spatial=embedded,
                eval_tokens=jnp.concatenate([cls[:, None], token], 1),
                eval_tokens_no_prepare=jnp.concatenate([bare_cls[:, None], bare], 1),
                eval_cls=cls,
                eval_pool=pooled,
                eval_cls_nomask=open_cls,
            )
            return (pooled * weight).sum(), out

        grad, (cls, moved) = jax.jit(jax.grad(train_loss, has_aux=True))(params)
        outputs_meet(recording, dtype, train_cls=cls)
        check(recording, "encoder.", dtype, grad=grad, buffer_after=moved)
        pooled_grad, out = jax.jit(jax.grad(eval_loss, has_aux=True))(params)
        outputs_meet(recording, dtype, **out)
        if recording.group("grad_eval_pool"):
            check(recording, "encoder.", dtype, grad_eval_pool=pooled_grad)


def info_nce(z0, z1):
    """Of two views, temperature 0.1, as the recordings have it."""
    z = jnp.concatenate([z0, z1])
    z = z / jnp.linalg.norm(z, axis=1, keepdims=True)
    count = len(z)
    similarity = z @ z.T / 0.1 - 1e9 * jnp.eye(count, dtype=z.dtype)
    positive = (np.arange(count) + count // 2) % count
    return -jax.nn.log_softmax(similarity)[np.arange(count), positive].mean()


@both
def test_step_with_latent_time_navigation(parity_dir, kind, monkeypatch):
    monkeypatch.setitem(sizes.SIZES, "nano72", sizes.Size(72, 2, 3))
    recording = load(parity_dir, "06c_simclr_ltn")
    masks, times = ([recording.array[f"in/{what}{v}"] for v in (0, 1)] for what in ("mask", "time"))
    gap = np.abs(times[1][:, 0] - times[0][:, 0])
    with precision(kind) as dtype:
        parts = ("projection", "ltn")
        net = network(parts, arch="nano72", temporal_width=72, time_embedding=False)
        params, extra = loaded(net, recording, "", dtype)
        clips = [frames_last(recording.array[f"in/clip{v}"], dtype) for v in (0, 1)]

        def loss(params, train):
            moved, cls = extra, []
            for clip, time, mask in zip(clips, times, masks, strict=True):
                _, _, c, _, moved = encode(net, params, moved, clip, time, mask, train)
                cls.append(c)
            shifted = net.shift(params, cls[1], gap)
            z0, moved = net.project(params, moved, cls[0], train=train)
            z1, moved = net.project(params, moved, shifted, train=train)
            return info_nce(z0, z1), (cls[0], shifted, z0, z1, moved)

        step = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
        (value, (f0, f1, z0, z1, moved)), grad = step(params, True)
        trained = dict(train_feature0=f0, train_feature1=f1, train_z0=z0, train_z1=z1)
        outputs_meet(recording, dtype, train_loss=value, **trained)
        check(recording, "", dtype, grad=grad, buffer_after=moved)
        value, (f0, _, z0, *_) = jax.jit(loss, static_argnums=1)(params, False)
        outputs_meet(recording, dtype, eval_loss=value, eval_feature0=f0, eval_z0=z0)
        directions, mixing = jnp.linalg.qr(params["ltn"]["basis"].T)
        outputs_meet(recording, dtype, ltn_Q=directions, ltn_R=mixing, ltn_delta_t=gap[:, None])
        module = spatiotemporal.TimeEmbedding(72, 100.0, None)
        embedded = jax.jit(module.apply)({"params": params["ltn"]["time"]}, gap)
        outputs_meet(recording, dtype, ltn_time_embed=embedded)


def seen_by_mae(params, clip, noise, *, keep):
    """-> (CLS and visible tokens after the encoder, the place of every token in the order)."""
    module = vit.ViT(48, 2, 3, (8, 2, 2), "patch", (1, 16, 16), 0, 0, "none", None)
    bound = module.bind({"params": params["encoder"]["vit"]})
    ids, place = videomae.split(noise, np.ones(noise.shape, bool), keep)
    visible = jnp.take_along_axis(bound.embed(clip, train=False), ids[..., None], axis=1)
    return bound.encode(visible, key=None), place


def mae_loss(net, params, clip, valid, noise, *, keep, aux=False):
    run = functools.partial(net.reconstruct, keep=keep, train=True, key=None)
    prediction, target, counted = run(params, clip, valid, noise, np.full(len(clip), keep))
    error = jnp.square(prediction - target).mean(-1)
    value = (error * counted[..., 0]).sum() / counted[..., 0].sum()
    return (value, (prediction, counted[..., 0])) if aux else value


@both
def test_videomae_step(parity_dir, kind):
    recording = load(parity_dir, "09a_videomae_pt1")
    with precision(kind) as dtype:
        net = network(("mae",), stem="patch")
        params, _ = loaded(net, recording, "", dtype)
        clip = frames_last(recording.array["in/clip"], dtype)
        noise, valid = recording.array["in/noise"], np.ones((4, 8), bool)
        keep = kept_count(32, 0.9)

        loss = functools.partial(mae_loss, net, keep=keep, aux=True)
        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (value, (pred, counted)), grad = step(params, clip, valid, noise)
        raw = patchify(jnp.asarray(clip), (1, 16, 16))
        outputs_meet(recording, dtype, loss=value, pred=pred, mask=counted, target=raw)
        outputs_meet(recording, dtype, loss_per_patch_mean=value)
        short, frames = frames_last(recording.array["in/clip_t4"], dtype), np.ones((4, 4), bool)
        of_half = jax.jit(functools.partial(mae_loss, net, keep=kept_count(16, 0.9)))
        outputs_meet(
            recording, dtype, loss_last_group_only=of_half(params, short, frames, noise[:, :16])
        )
        check(recording, "", dtype, grad=grad)
        latent, place = jax.jit(functools.partial(seen_by_mae, keep=keep))(params, clip, noise)
        np.testing.assert_array_equal(place, recording.array["out/ids_restore"])
        positions_used = params["mae"]["positions"][None]
        outputs_meet(recording, dtype, latent=latent, dec_pos_embed_used=positions_used)


@both
def test_probe_with_a_trained_temporal_cls(parity_dir, kind):
    recording = load(parity_dir, "10a_evaluator_classification")
    array = recording.array
    label = array["in/label"]
    with precision(kind) as dtype:
        net = network(("head",), outputs=2, time_embedding=False)
        params, extra = loaded(net, recording, "", dtype)

        def logits(params, clip, time, mask, train):
            _, _, cls, _, moved = encode(net, params, extra, clip, time, mask, train)
            return net.head(params, cls), moved

        def loss(trained, train):
            full = jax.tree.map(lambda x: x, params) | {"head": trained["head"]}
            full["encoder"]["temporal"]["cls"] = trained["cls"]
            clip = frames_last(array["in/clip"], dtype)
            out, moved = logits(full, clip, array["in/time_step"], array["in/pad_mask"], train)
            return -jax.nn.log_softmax(out)[np.arange(4), label].mean(), (out, moved)

        trained = {"cls": params["encoder"]["temporal"]["cls"], "head": params["head"]}
        step = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
        (value, (_, moved)), grad = step(trained, True)
        outputs_meet(recording, dtype, train_loss=value)
        grad = {"encoder": {"temporal": {"cls": grad["cls"]}}, "head": grad["head"]}
        check(recording, "", dtype, grad=grad, buffer_after=moved)
        (value, (out, same)), _ = step(trained, False)
        for before, after in zip(jax.tree.leaves(extra), jax.tree.leaves(same), strict=True):
            np.testing.assert_array_equal(before, after)  # unlike in the published probe
        outputs_meet(recording, dtype, eval_loss=value, eval_logits=out)

        clips = frames_last(array["in/test_clip"], dtype).reshape(20, 8, 32, 32, 1)
        time, mask = (array[f"in/test_{k}"].reshape(20, 8) for k in ("time_step", "pad_mask"))
        out = jax.jit(lambda p: logits(p, clips, time, mask, False)[0])(params).reshape(4, 5, 2)
        outputs_meet(recording, dtype, test_clip_logits=out, test_mean_logits=out.mean(1))
        probability = jax.nn.softmax(out.mean(1))
        outputs_meet(recording, dtype, test_prob1=probability[:, 1])
        area = stats.auroc(array["in/test_label"], np.asarray(probability), stats.once(4))[0]
        assert area == array["out/test_auc"]


UNREAD = 384  # the reference's downstream_cls_token, which nothing reads and we do not have
FULL_SIZE = {
    "tvrl_mlm_small": (("projection", "token"), dict(head_norm=False), UNREAD),
    "csimclr_te_ltn_small": (("projection", "ltn"), dict(time_embedding=True), UNREAD),
    "videomae_small": (("mae",), dict(stem="patch"), 0),
}


def full_size(parts, **changes):
    model = get_config().model
    model.update(arch="small", time_embedding=False, tubelet=1)
    model.update(changes)
    return build(frames=8, channels=1, parts=parts, **model)


def count(net):
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_models_start_as_published(parity_dir, name):
    published = json.loads((parity_dir / "14_init_stats.json").read_text())[name]
    parts, changes, unread = FULL_SIZE[name]
    net = full_size(parts, **changes)
    assert count(net) + unread == published["n_params"]
    ours = flatten(jax.tree.map(np.asarray, net.init(jax.random.key(0))[0]))
    expected = {our_path(k): v for k, v in published["params"].items() if not is_unused(k)}
    assert set(ours) == set(expected)
    for path, value in ours.items():
        fact = expected[path]
        slack = 0.02 + 4 / np.sqrt(value.size)  # of the drawn numbers' own spread
        assert value.size == np.prod(fact["shape"]), path
        assert abs(value.std() - fact["std"]) <= slack * fact["std"], path
        assert abs(value.mean() - fact["mean"]) <= slack * fact["std"], path
        assert np.abs(value).max() <= 1.7 * max(-fact["min"], fact["max"]), path


def test_full_size_parameter_counts(parity_dir):
    published = json.loads((parity_dir / "14_init_stats.json").read_text())
    assert count(full_size(("projection",))) + UNREAD == 28_703_184  # cSimCLR
    # Our token head always has a mask token; the published causal model has none.
    causal = count(full_size(("projection", "token"))) - 384
    assert causal + UNREAD == published["clm_small"]["n_params"]


def test_a_published_state_dict_becomes_a_run_folder_as_the_page_says(parity_dir, tmp_path):
    recording = load(parity_dir, "17a_tvrl_time_padded")
    state = recording.group("param") | recording.group("buffer")
    np.savez(tmp_path / "tvrl.npz", **state)
    page = (ROOT / "docs" / "extending.md").read_text()
    code = page.split("## Weights that were published in PyTorch")[1].split("```python")[1]
    code = code.split("```")[0]
    sizes_here = 'arch="nano", image_size=32, temporal_depth=2, head_hidden=64, '
    for written, here in (
        ("tvrl.npz", str(tmp_path / "tvrl.npz")),
        ("runs/published", str(tmp_path / "run")),
        ("model.update(", f"model.update({sizes_here}"),
    ):
        assert code.count(written) == 1
        code = code.replace(written, here)
    exec(code, {})
    encoder = inference.load(tmp_path / "run")
    back = to_torch(
        encoder.params, {k: x for k, x in state.items() if k.startswith("encoder.temp")}
    )
    assert back and all((x == state[name]).all() for name, x in back.items())
    frame_THW = np.random.default_rng(0).integers(0, 255, (8, 40, 40))
    assert np.isfinite(inference.encode(encoder, frame_THW, np.arange(8)).cls_D).all()
