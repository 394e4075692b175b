"""Frozen features: of real nano encoders, on a tiny cohort that is read from files."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from tests import probe_network, tiny
from tvrl_jax.augment import resize
from tvrl_jax.augment.time import view_times
from tvrl_jax.checkpoint import checksums
from tvrl_jax.data import opening
from tvrl_jax.data.batch import Plan, read_batch
from tvrl_jax.models.build import build
from tvrl_jax.probing import cache, cls_program, features, untrained, windows
from tvrl_jax.probing.features import Encoder

JOINT = {"model.stem": "patch", "model.tubelet": 2}
WINDOWS = dict(
    frames=4, stride=1, sampling="random", relative_time=True, time_origin="window", every=1
)


def make_encoder(root, parts=(), **changes) -> Encoder:
    config = tiny.shrink(base.get_config(), root)
    config.method = "tvrl"
    config.update_from_flattened_dict(changes)
    network = build(frames=config.clips.frames, channels=1, parts=parts, **config.model)
    params, extra = network.init(jax.random.key(1))
    # Away from the initial values, where positions are 0 and BatchNorm does nothing.
    rattle = jax.tree.map(
        lambda a: a + 0.05 * jax.random.normal(jax.random.key(2), a.shape), params
    )
    extra = jax.tree.map(lambda a: a + 0.1, extra)
    return Encoder(network, {"encoder": rattle["encoder"]}, extra, config)


@pytest.fixture(scope="module")
def store(root):
    return opening.open_cohort(tiny.shrink(base.get_config(), root).data)


@pytest.fixture(scope="module")
def encoder(root):
    """A small stand-in: what the real encoders compute is compared below with a naive loop."""
    config = tiny.shrink(base.get_config(), root)
    network = probe_network.make(frames=4, side=tiny.SIZE)
    return Encoder(network, *network.init(jax.random.key(1)), config)


def compute(encoder, store, series, folder, every=1, batch_size=7, said=None, **changes):
    section = base.ConfigDict(dict(stride=0, sampling="", every=every))
    settings = features.window_settings(encoder.config, section) | changes
    say = [].append if said is None else said.append
    return features.compute(
        encoder, store, series, settings=settings, batch_size=batch_size, folder=folder, say=say
    )


def _naive(encoder, store, i, *, every, shared):
    """One window at a time, its pixels whole; `shared`: frames that share a token."""
    config, info = encoder.config, store.series[i]
    frames, stride = config.clips.frames, config.clips.stride
    valid_1T = jnp.ones((1, frames), bool)

    @jax.jit
    def one(clip, time_1T):
        clip = resize(clip, config.model.image_size)
        run = dict(train=False, key=None)
        x, _ = encoder.network.spatial(encoder.params, encoder.extra, clip, valid_1T, **run)
        x = encoder.network.embed_time(encoder.params, x, time_1T)
        cls_1D, token_1ND = encoder.network.temporal(encoder.params, x, valid_1T, **run)
        return cls_1D[0], token_1ND[0].mean(0), token_1ND[0]

    rows, held = [], [[] for _ in range(info.frames)]
    for start in range(0, info.frames - frames * stride + 1, every):
        index_T = start + stride * np.arange(frames)
        time_1T = np.float32(info.time_T[index_T] - info.time_T[start])[None]
        *means, token_ND = one(store.frames(i, index_T)[None], time_1T)
        rows.append(means)
        for place, frame in enumerate(index_T):  # of a joint encoder, a tubelet's patches in turn
            patches = len(token_ND) * shared // frames
            first = place // shared * patches
            held[frame].append(token_ND[first : first + patches].mean(0))
    return *(np.mean(part, axis=0) for part in zip(*rows, strict=True)), held


@pytest.mark.parametrize(("changes", "parts"), [({}, ()), (JOINT, ("mae",))])
def test_features_equal_a_naive_loop_over_windows(root, store, tmp_path, changes, parts):
    encoder = make_encoder(root, parts, **changes)
    got = compute(encoder, store, [3, 5], tmp_path, every=2)
    for row, i in enumerate((3, 5)):
        *means, held = _naive(encoder, store, i, every=2, shared=2 if parts else 1)
        cls_D, token_D = means
        own = slice(row * tiny.FRAMES, (row + 1) * tiny.FRAMES)
        assert got.held_F[own].tolist() == [bool(rows) for rows in held]
        token_FD = [np.mean(rows, 0) for rows in held if rows]
        assert np.allclose(got.token_FD[own][got.held_F[own]], token_FD, atol=2e-5)
        assert np.allclose(got.cls_ND[row], cls_D, atol=2e-5)
        assert np.allclose(got.token_ND[row], token_D, atol=2e-5)
    assert len(got.frame_FD) == (0 if parts else 2 * tiny.FRAMES)


def test_frozen_is_frozen(encoder, store, tmp_path):
    before = checksums((encoder.params, encoder.extra))
    first = compute(encoder, store, [0, 1], tmp_path / "a")
    second = compute(encoder, store, [0, 1], tmp_path / "b")
    assert checksums((encoder.params, encoder.extra)) == before
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_batch_size_and_company_do_not_matter(encoder, store, tmp_path):
    one = compute(encoder, store, [4], tmp_path / "a", batch_size=5)
    many = compute(encoder, store, [2, 4, 6], tmp_path / "b", batch_size=64)
    assert np.allclose(one.cls_ND[0], many.cls_ND[1], atol=1e-5)
    assert np.allclose(one.frame_FD, many.frame_FD[tiny.FRAMES : 2 * tiny.FRAMES], atol=1e-5)


def test_each_frame_meets_the_spatial_encoder_once(encoder, store, tmp_path):
    seen = []

    def spatial(params, extra, clip_BTHWC, *arguments, **named):
        jax.debug.callback(lambda c: seen.append(c.shape[:2]), clip_BTHWC)
        return encoder.network.spatial(params, extra, clip_BTHWC, *arguments, **named)

    spy = encoder._replace(network=encoder.network._replace(spatial=spatial))
    compute(spy, store, [0, 1], tmp_path, batch_size=12)
    jax.effects_barrier()
    assert seen == [(12, 1)] * (2 * tiny.FRAMES // 12)


def test_a_short_series_is_padded_on_the_right_and_padding_changes_nothing(
    encoder, store, tmp_path
):
    two = tuple(s._replace(frames=2, time_T=s.time_T[:2]) for s in store.series)
    short = SimpleNamespace(series=two, places=store.places, frames=store.frames)
    short.image_size, short.channels = store.image_size, store.channels
    table = windows.cut(short, [1], **WINDOWS)
    assert table.valid_WT.tolist() == [[True, True, False, False]]
    assert (table.time_WT[0, 2:] == 0).all()
    padded = compute(encoder, short, [1], tmp_path)
    bare = compute(encoder, short, [1], tmp_path, frames=2)
    assert np.allclose(padded.cls_ND, bare.cls_ND, atol=1e-5)
    assert np.allclose(padded.token_ND, bare.token_ND, atol=1e-5)
    assert np.allclose(padded.token_FD, bare.token_FD, atol=1e-5) and padded.held_F.all()


def test_visits_have_one_window_that_ends_with_the_newest(encoder, store, tmp_path):
    table = windows.cut(store, [0, 1], **WINDOWS | dict(sampling="newest"))
    assert table.frame_WT.tolist() == [[8, 9, 10, 11], [20, 21, 22, 23]]
    newest = compute(encoder, store, [0, 1], tmp_path, sampling="newest")
    assert np.flatnonzero(newest.held_F).tolist() == table.frame_WT.ravel().tolist()
    assert not newest.token_FD[~newest.held_F].any()


def test_spread_windows_reach_from_the_first_to_the_last(store):
    table = windows.cut(store, [0, 1], **WINDOWS)
    few = windows.spread(table, 3)
    assert few.frame_WT[:, 0].tolist() == [0, 4, 8, 12, 16, 20]
    assert few.series_W.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_cache_is_used_and_every_setting_has_its_own_file(encoder, store, tmp_path):
    said = []
    first = compute(encoder, store, [0, 1], tmp_path, said=said)
    again = compute(encoder, store, [0, 1], tmp_path, said=said)
    assert len(said) == 1 and np.array_equal(first.cls_ND, again.cls_ND)
    compute(encoder, store, [1, 0], tmp_path, said=said)
    compute(encoder, store, [0, 1], tmp_path, every=2, said=said)
    moved = jax.tree.map(lambda a: a, encoder.extra)
    moved["encoder"] = jax.tree.map(lambda a: a + 1e-3, moved["encoder"])
    compute(encoder._replace(extra=moved), store, [0, 1], tmp_path, said=said)
    assert len(said) == 4 and len(list(tmp_path.iterdir())) == 4


def test_a_damaged_cache_file_is_noticed_and_made_again(tmp_path):
    path, said = cache.place(str(tmp_path), a=1), []
    value = {"x": np.arange(500, dtype=np.float32)}
    cache.write(path, value)
    whole = path.read_bytes()
    damages = [whole[:-30], whole[: len(whole) // 2], b"", b"nonsense"]
    damages += [_flip(whole, place) for place in (60, 200, len(whole) // 2)]
    for count, damaged in enumerate(damages, 1):
        path.write_bytes(damaged)
        got = cache.read_or_make(path, lambda: value, said.append)
        assert np.array_equal(got["x"], value["x"])
        assert len(said) == count and "damaged" in said[-1]
        assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stop)
    with pytest.raises(KeyboardInterrupt):
        cache.write(tmp_path / "x.npz", {})
    assert not list(tmp_path.iterdir())


def test_the_untrained_encoder_has_settled_statistics_of_the_training_frames(encoder, store):
    settle = dict(seed=3, batches=100, batch_size=48)
    fresh = untrained.fresh(encoder, seed=3)
    made = untrained.settled(encoder, store, **settle)
    assert checksums(made.params) == checksums(fresh.params)
    assert checksums(made.params) != checksums(encoder.params)
    again = untrained.settled(encoder, store, **settle)
    assert checksums(again.extra) == checksums(made.extra)
    # In eval mode it now does about what train mode does, which normalises by the batch itself.
    every = [(i, start) for i in store.split("train") for start in range(9)]
    clip = resize(np.stack([store.frames(i, s + np.arange(4)) for i, s in every]), tiny.SIZE)
    valid = jnp.ones(clip.shape[:2], bool)

    @jax.jit
    def gap(extra):
        given = (made.params, extra, clip, valid)
        now, _ = made.network.spatial(*given, train=True, key=None)
        return jnp.abs(made.network.spatial(*given, train=False, key=None)[0] - now).mean()

    assert gap(made.extra) < 0.2 * gap(fresh.extra)


def test_only_the_temporal_cls_token_is_replaced(root):
    config = tiny.shrink(base.get_config(), root)
    network = build(frames=4, channels=1, **config.model)
    params, _ = jax.eval_shape(network.init, jax.random.key(0))
    other = cls_program.with_cls(params, jnp.ones(network.width))
    before, after = (jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (params, other))
    changed = [
        jax.tree_util.keystr(path)
        for (path, a), (_, b) in zip(before, after, strict=True)
        if a is not b
    ]
    assert changed == ["['encoder']['temporal']['cls']"]
    assert params["encoder"]["temporal"]["cls"].shape == (network.width,)


@pytest.mark.parametrize("origin", ["window", "newest"])
@pytest.mark.parametrize("relative", [True, False])
def test_an_encoder_is_shown_times_that_count_from_where_they_did_when_it_learned(
    store, origin, relative
):
    how = WINDOWS | dict(relative_time=relative, time_origin=origin)
    table = windows.cut(store, [0, 1], **how)
    (batch,) = windows.batches(store, [0, 1], table, batch_size=len(table.series_W))
    plans = [
        Plan(series, (frame - series * tiny.FRAMES)[None], valid[None], np.zeros(1, int))
        for series, frame, valid in zip(table.series_W, table.frame_WT, table.valid_WT, strict=True)
    ]
    learned = read_batch(store, plans, relative_time=relative)
    still = dict(interval_scale=0.0, time_shift=0.0, time_scale=0.0, time_jitter=0.0)
    for time_VT, *shown in zip(
        learned["time_BVT"], table.time_WT, batch["time_BVT"][:, 0], table.valid_WT, strict=True
    ):
        *shown, valid = shown
        moved = view_times(
            np.zeros(2), None, np.zeros(4), time_VT[0], valid, time_origin=origin, **still
        )
        for times in shown:
            np.testing.assert_allclose(times, moved, atol=1e-6)
    assert (table.time_WT.max() == 0) == (origin == "newest")
