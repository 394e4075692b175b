"""Laws of the encoders: what hides a frame, what is random, what moves."""

import functools

import jax
import jax.numpy as jnp
import make_recording
import numpy as np
import pytest
from parity import PRECISIONS, precision

from configs.base import get_config
from tvrl_jax.errors import UserError
from tvrl_jax.interop.torch_import import from_torch, to_torch
from tvrl_jax.models import layers, remat, sizes, strided, vit
from tvrl_jax.models.build import build

KEY = jax.random.key(0)
VALID = np.arange(4) < np.array([4, 2, 3])[:, None]
TIME = np.tile(np.arange(4, dtype=np.float32), (3, 1)) * VALID


def network(parts=(), **changes):
    model = get_config().model
    model.update(arch="nano", image_size=32, temporal_depth=1, temporal_heads=3, head_hidden=32)
    model.update(decoder_width=24, decoder_depth=1)
    model.update(changes)
    return build(frames=4, channels=1, parts=parts, **model)


def clips(seed=0):
    return np.random.default_rng(seed).uniform(size=(3, 4, 32, 32, 1)).astype(np.float32)


@functools.cache
def started(**changes):
    """-> (network, params, extra)."""
    net = network(**changes)
    return net, *net.init(KEY)


def encode(net, params, extra, clip, *, train=False, key=None, valid=VALID):
    """-> (CLS, BatchNorm statistics after)."""
    feature, extra = net.spatial(params, extra, clip, valid, train=train, key=key)
    x = net.embed_time(params, feature, TIME)
    return net.temporal(params, x, valid, train=train, key=key)[0], extra


@functools.cache
def step(**changes):
    """(params, extra, clip, valid, key) -> ((loss, (cls, statistics)), gradient), in training."""
    net = network(**changes)

    def loss(params, extra, clip, valid, key):
        cls, moved = encode(net, params, extra, clip, train=True, key=key, valid=valid)
        return jnp.sin(3 * cls).sum(), (cls, moved)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def assert_same(a, b, relative):
    """Equal trees: every array to within a fraction of its largest entry."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        allowed = relative * np.abs(y).max(initial=1e-3)
        assert np.abs(x - y).max() <= allowed, jax.tree_util.keystr(path)


def differ(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any(not np.allclose(x, y, rtol=1e-4, atol=1e-6) for x, y in pairs)


@pytest.mark.parametrize("kind", PRECISIONS)
def test_nano_encoder_gives_what_was_recorded(kind):
    with precision(kind) as dtype, np.load(make_recording.FILE) as recorded:
        net = make_recording.network()
        arguments = *make_recording.parameters(net, dtype), *make_recording.inputs(dtype)
        numbers = jax.jit(functools.partial(make_recording.run, net))(*arguments)
        assert set(numbers) == set(recorded.files)
        allowed = 2e-7 if kind == "float64" else 2e-4
        for name, value in numbers.items():
            largest = np.abs(recorded[name]).max()
            error = np.abs(np.asarray(value) - recorded[name]).max()
            assert error <= allowed * max(largest, 1e-3), (name, error / largest)


NOISY = np.where(VALID[..., None, None, None], clips(), 9.0).astype(np.float32)


def test_padding_changes_neither_output_nor_gradient_nor_statistics():
    _, *state = started()
    one, other = (step()(*state, clip, VALID, None) for clip in (clips(), NOISY))
    assert_same(one, other, 1e-5)


def test_published_statistics_count_padding():
    _, *state = started()
    train = step(batchnorm_padding=True)
    (_, (_, one)), _ = train(*state, clips(), VALID, None)
    (_, (_, other)), _ = train(*state, NOISY, VALID, None)
    assert differ(one, other)


def test_nothing_valid_is_finite_and_teaches_nothing():
    _, params, extra = started()
    (loss, (_, moved)), grad = step()(params, extra, clips(), VALID & False, None)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grad))
    assert_same(moved, extra, 0)


def test_causal_rows_have_no_gradient_from_the_future_and_none_from_hidden_frames():
    net, params, _ = started()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 48)), jnp.float32)
    keys = np.array([[False, True, True, True]])  # row 0 sees nothing at all

    def tokens(x):
        cls, token = net.temporal(params, x, keys, train=False, key=None, causal=True)
        assert cls is None
        return token[0].sum(-1)

    reach = np.abs(jax.jit(jax.jacrev(tokens))(x))[:, 0].max(-1)  # [row, frame]
    assert np.isfinite(reach).all()
    assert (np.triu(reach, 1) == 0).all()
    assert (reach[1:, 0] == 0).all()
    assert (reach[np.tril_indices(4)][[0, 2, 4, 5, 7, 8, 9]] > 0).all()


def test_cls_that_may_see_no_frame_depends_on_none():
    net, params, _ = started()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 48)), jnp.float32)

    def cls(x, keys):
        return jnp.sin(net.temporal(params, x, keys, train=False, key=None)[0]).sum()

    grad = jax.jit(jax.grad(cls))
    assert (grad(x, np.zeros((3, 4), bool)) == 0).all()
    assert (np.abs(grad(x, VALID)).max(-1) > 0).tolist() == VALID.tolist()


RANDOM = dict(dropout=0.3, drop_path=0.3)


def test_eval_mode_is_deterministic_and_returns_the_same_statistics():
    _, params, extra = started()
    net = network(**RANDOM)
    run = functools.partial(net.spatial, params, extra, clips(), VALID, train=False)
    feature, same = run(key=KEY)
    assert same is extra
    np.testing.assert_array_equal(feature, run(key=None)[0])


def test_dropout_needs_training_and_a_key():
    _, *state = started()
    train, data = step(**RANDOM), (clips(), VALID)
    (_, (plain, _)), _ = step()(*state, *data, None)
    (_, (still, _)), _ = train(*state, *data, None)
    a, b, again = (train(*state, *data, jax.random.key(i))[0][1][0] for i in (1, 2, 1))
    np.testing.assert_allclose(plain, still, rtol=1e-5, atol=1e-6)
    assert differ(plain, a) and differ(a, b)
    np.testing.assert_array_equal(a, again)


@pytest.mark.parametrize("policy", [name for name in remat.POLICIES if name != "none"])
def test_remat_changes_neither_names_nor_values(policy):
    _, *state = started()
    changes = RANDOM | dict(remat=policy)
    lean = network(**changes)
    assert jax.tree.map(jnp.shape, jax.eval_shape(lean.init, KEY)) == jax.tree.map(
        jnp.shape, tuple(state)
    )
    data = clips(), VALID, jax.random.key(1)
    one, other = (step(**choice)(*state, *data) for choice in (RANDOM, changes))
    assert_same(one, other, 1e-4)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_each_remat_policy_keeps_less_than_the_one_before(dtype):
    """What the backward pass of a block is given, counted where JAX differentiates."""

    def kept(policy):
        block = remat.recomputed(vit.Block, policy)(3, 0.0, 0.0, dtype, None, name="block")
        x = jnp.ones((2, 9, 48), dtype)
        params = block.init(KEY, x, None, None)
        backward = jax.eval_shape(lambda p, x: jax.vjp(block.apply, p, x, None, None)[1], params, x)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    sizes = [kept(policy) for policy in ("none", "dots", "weights", "blocks")]
    assert sizes == sorted(set(sizes), reverse=True)


def test_remat_may_be_said_as_in_settings_of_old():
    model = get_config().model.to_dict()
    for old, name in ((False, "none"), (True, "blocks")):
        settings = sizes.check(frames=4, channels=1, **(model | {"remat": old}))
        assert settings.remat == name
    with pytest.raises(UserError, match=r'model.remat = "block" .*blocks'):
        network(remat="block")


def test_bfloat16_computes_near_float32_and_keeps_float32_parameters():
    _, *state = started()
    lean = network(dtype="bfloat16")
    kept = jax.tree.leaves(jax.eval_shape(lean.init, KEY))
    assert {leaf.dtype for leaf in kept} == {np.dtype("float32")}
    (_, (cls, _)), _ = step()(*state, clips(), VALID, None)
    (_, (low, moved)), grad = step(dtype="bfloat16")(*state, clips(), VALID, None)
    assert {leaf.dtype for leaf in jax.tree.leaves((low, moved, grad))} == {np.dtype("float32")}
    assert 0 < np.abs(low - cls).max() < 0.1 * np.abs(cls).max()


def test_dropped_entries_are_a_share_of_the_rate_and_the_rest_scaled():
    x = layers.dropout(jnp.ones((200, 501)), 0.1, KEY)
    assert abs(float((x == 0).mean()) - 0.1) < 0.005
    np.testing.assert_allclose(np.unique(x), [0, 1 / 0.9], rtol=1e-6)


@pytest.mark.parametrize("drop", [layers.dropout, layers.drop_path])
def test_a_row_with_a_key_of_its_own_draws_the_same_beside_any_others(drop):
    x, key_N = jnp.ones((32, 4, 6)), layers.row_keys(KEY, 32)
    together, alone = drop(x, 0.5, key_N), drop(x[5::2], 0.5, key_N[5::2])
    np.testing.assert_array_equal(together[5::2], alone)
    assert np.isin(together, [0, 2]).all() and np.unique(together, axis=0).shape[0] > 1
    assert (drop is layers.drop_path) == all(len(np.unique(row)) == 1 for row in together)
    assert layers.row_keys(key_N, 32) is key_N and layers.row_keys(None, 32) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_convolution_by_matrix_product_is_the_convolution(channels):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 8, 6, channels)).astype(np.float32)
    kernel = random.normal(size=(3, 3, channels, 5)).astype(np.float32)

    @jax.jit
    def outputs_and_gradients(x, kernel):
        def both(convolve):
            out, back = jax.vjp(convolve, x, kernel)
            return out, *back(jnp.sin(out))

        return both(strided.conv), both(strided.conv_by_matmul)

    assert_same(*outputs_and_gradients(x, kernel), 1e-5)


@pytest.mark.parametrize("mapped", [(0, None), (None, 0), (0, 0)], ids=["views", "kernels", "both"])
def test_a_mapped_convolution_is_each_one_by_itself(mapped):
    """Outputs and gradients; and the gradient of each by itself, mapped."""
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(3, 2, 8, 6, 4)), random.normal(size=(3, 3, 3, 4, 5))
    given = [a if axis == 0 else a[0] for a, axis in zip((x, kernel), mapped, strict=True)]
    given = [jnp.asarray(a, jnp.float32) for a in given]

    def of(convolve):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(jax.vmap(convolve, mapped)(x, kernel)))

        def one_loss(x, kernel):
            return jnp.sum(jnp.sin(convolve(x, kernel)))

        each = jax.vmap(jax.grad(one_loss, (0, 1)), mapped)
        return jax.vmap(convolve, mapped)(*given), jax.grad(loss, (0, 1))(*given), each(*given)

    assert_same(of(strided.conv), of(strided.conv_by_matmul), 1e-5)


def test_one_row_alone_is_the_row_among_all():
    blocks = vit.Blocks(2, 3, 0.0, 0.0, "none", None)
    x = jax.random.normal(KEY, (2, 5, 12))
    shapes = jax.eval_shape(blocks.init, KEY, x, None, None)
    drawn = np.random.default_rng(0)
    params = jax.tree.map(lambda s: drawn.normal(size=s.shape).astype(np.float32) / 3, shapes)
    every = jax.jit(blocks.apply, static_argnums=())(params, x, None, None)
    one = jax.jit(functools.partial(blocks.apply, rows=1))(params, x, None, None)
    np.testing.assert_allclose(one, every[:, :1], rtol=1e-5, atol=1e-5)


def test_cls_without_tokens_is_the_cls_beside_them():
    net, params, _ = started()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 48)), jnp.float32)
    how = dict(train=False, key=None)
    beside, _ = net.temporal(params, x, VALID[:3], **how)
    alone, none = net.temporal(params, x, VALID[:3], rows=1, **how)
    assert none.shape[1] == 0
    np.testing.assert_allclose(alone, beside, rtol=1e-5, atol=1e-5)


def test_time_moves_a_feature_only_when_it_passes():
    net, params, _ = started(parts=("ltn",))
    feature = jax.random.normal(KEY, (2, 48))
    still, moved, back = (net.shift(params, feature, np.full(2, dt)) for dt in (0.0, 3.0, -3.0))
    assert differ(still, moved)
    np.testing.assert_array_equal(moved, back)  # only the length of the gap counts


def test_videomae_neither_shows_nor_counts_padding():
    net, params, extra = started(parts=("mae",), stem="patch", tubelet=2)
    assert extra == {}
    noise = np.random.default_rng(0).uniform(size=(3, 8))
    run = jax.jit(functools.partial(net.reconstruct, keep=2, train=False, key=None))
    dark = np.where(VALID[..., None, None, None], clips(), 7.0)[1:2]
    given = VALID[1:2], noise[1:2], np.array([2])
    prediction, target, counted = run(params, clips()[1:2], *given)
    other, _, _ = run(params, dark, *given)
    assert prediction.shape == target.shape == (1, 8, 2 * 16 * 16)
    assert counted.all(-1)[0].tolist().count(True) == 2 and not counted[0, 4:].any()
    np.testing.assert_allclose(prediction[:, :4], other[:, :4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(target[:, :4].std(-1, ddof=1), 1, rtol=1e-3)


def test_videomae_learns_of_the_newest_visit_when_visits_are_odd_in_number():
    """Three frames in tubelets of two: the half tubelet is a target, and its padding nothing."""
    net, params, _ = started(parts=("mae",), stem="patch", tubelet=2)
    noise = np.arange(8.0)[None]  # the first token is seen, and the first of those that may be
    run = jax.jit(functools.partial(net.reconstruct, keep=2, train=False, key=None))
    error = jax.jit(functools.partial(net.reconstruction_error, keep=2, train=False, key=None))
    clip, valid = clips()[2:], VALID[2:]
    assert valid.sum() == 3
    dark = np.where(valid[..., None, None, None], clip, 7.0)
    prediction, target, counted = run(params, clip, valid, noise, np.array([1]))
    for a, b in zip(
        (prediction, target), run(params, dark, valid, noise, np.array([1])), strict=False
    ):
        np.testing.assert_allclose(np.where(counted, a - b, 0), 0, atol=1e-6)
    assert counted[0].sum(-1).tolist() == [0] + 3 * [512] + 4 * [256]
    half = target[0, 4:, :256]
    np.testing.assert_allclose(half.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(half.std(-1, ddof=1), 1, rtol=1e-3)
    value, which = error(params, clip, valid, noise, np.array([1]))
    assert which[0].tolist() == [False] + 7 * [True]
    expected = np.square(prediction[0, 4:, :256] - half).mean(-1)
    np.testing.assert_allclose(value[0, 4:], expected, rtol=1e-5)


def test_videomae_sees_no_more_of_a_clip_than_its_own_share():
    """What other clips of the batch may show does not reach one that may show less."""
    net, params, _ = started(parts=("mae",), stem="patch", tubelet=2)
    noise = np.tile(np.arange(8.0), (3, 1))
    run = jax.jit(functools.partial(net.reconstruct, keep=2, train=False, key=None))
    clip, every = clips(), np.ones((3, 4), bool)
    other = clip.copy()
    other[:, :2, :16, 16:] = 0.3  # the second token
    for kept, same in ((1, True), (2, False)):
        one, two = (run(params, c, every, noise, np.full(3, kept))[0][:, 2:] for c in (clip, other))
        assert np.allclose(one, two, atol=1e-6) == same


def test_joint_encoder_is_probed_by_the_same_functions():
    net, params, extra = started(parts=("mae",), stem="patch", tubelet=2)
    token, _ = net.spatial(params, extra, clips(), VALID, train=False, key=None)
    cls, token = net.temporal(params, token, VALID, train=False, key=None)
    assert cls.shape == (3, net.width) and token.shape == (3, 8, net.width)
    assert net.keys(VALID).sum(1).tolist() == [8, 4, 8]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(arch="smal"), "small"),
        (dict(parts=("projektion",)), '"projection"'),
        (dict(patch_size=8), "16"),
        (dict(image_size=40), "image_size"),
        (dict(temporal_heads=5), "temporal_heads"),
        (dict(dtype="float8"), "dtype"),
        (dict(parts=("mae",)), "patch"),
        (dict(parts=("mae",), stem="patch", tubelet=3), "tubelet"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, said):
    with pytest.raises(UserError, match=said):
        network(**changes)


def test_heads_over_time_are_those_published_where_they_divide_the_width():
    model = get_config().model.copy_and_resolve_references()
    for changes, heads in (
        (dict(arch="small"), 6),
        (dict(arch="small", temporal_heads=6), 6),  # as older runs say
        (dict(arch="base", temporal_heads=12), 12),
        (dict(arch="large"), 16),
        (dict(arch="large", temporal_width=768), 6),
    ):
        made = sizes.check(frames=4, channels=1, **{**model, **changes})
        assert made.temporal_heads == heads, changes
    network(parts=("mae",), stem="patch", tubelet=2, temporal_heads=5)  # it has none over time


def test_a_function_whose_part_was_not_built_says_so():
    net, params, extra = started(parts=("token",))
    x_BD = np.zeros((2, net.width), np.float32)
    for name, part, arguments in (
        ("project", "projection", (params, extra, x_BD)),
        ("shift", "ltn", (params, x_BD, np.zeros(2))),
        ("head", "head", (params, x_BD)),
        ("reconstruct", "mae", (params,)),
    ):
        with pytest.raises(ValueError, match=f'built without "{part}": name it among its parts'):
            getattr(net, name)(*arguments)
    assert net.mask_token(params).shape == (net.width,)
    with pytest.raises(ValueError, match='without "token"'):
        started()[0].mask_token(params)


def test_a_clip_of_another_size_is_named():
    net, params, extra = started()
    with pytest.raises(UserError, match="image_size"):
        net.spatial(params, extra, clips()[:, :, :16], VALID, train=False, key=None)


def test_import_is_strict_in_both_directions():
    template = {"head": {"out": {"kernel": shape(48, 2), "bias": shape(2)}}}
    state = {"head.weight": np.ones((2, 48)), "head.bias": np.zeros(2)}
    params, extra = from_torch(state | {"encoder.downstream_cls_token": np.ones(3)}, template, {})
    assert params["head"]["out"]["kernel"].shape == (48, 2) and extra == {}
    back = to_torch(params, state)
    for name in state:
        np.testing.assert_array_equal(back[name], state[name])
    wrong = {
        "not known here: head.gain": state | {"head.gain": np.ones(2)},
        "not filled: head/out/bias": {"head.weight": state["head.weight"]},
        "given twice: head/out/bias": state | {"head/out/bias": np.zeros(2)},
        r"head.bias is \(3,\)": state | {"head.bias": np.zeros(3)},
        "head.weight is": state | {"head.weight": np.ones((2, 48, 2, 1, 1))},  # two frames deep
    }
    for said, changed in wrong.items():
        with pytest.raises(UserError, match=said):
            from_torch(changed, template, {})


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, np.float32)


@pytest.mark.parametrize(
    ("arch", "wanted"),
    [
        ("micro", (48, 2, 3)),
        ("tiny", (96, 4, 3)),
        ("small", (192, 4, 3)),
        ("base", (384, 4, 6)),
        ("large", (512, 4, 8)),
    ],
)
def test_a_decoder_has_the_size_that_goes_with_its_encoder(arch, wanted):
    model = get_config().model.copy_and_resolve_references()
    model.update(arch=arch, temporal_heads=3 if arch in ("micro", "tiny", "small") else 4)
    made = sizes.check(frames=4, channels=1, **model)
    assert (made.decoder_width, made.decoder_depth, made.decoder_heads) == wanted
    own = sizes.check(frames=4, channels=1, **{**model, "decoder_width": 24, "decoder_depth": 1})
    assert (own.decoder_width, own.decoder_depth, own.decoder_heads) == (24, 1, wanted[2])
