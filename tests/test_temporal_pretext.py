"""The exercise of pretraining, on networks of which is known what they see."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import FrozenConfigDict

from configs import csimclr_te, tvrl
from tests import probe_network, tiny
from tests.fake_store import FakeSeries, FakeStore
from tests.sights import WIDTH
from tvrl_jax import step
from tvrl_jax.objectives import OBJECTIVES
from tvrl_jax.probing.temporal import findings, pretext
from tvrl_jax.report import alarms
from tvrl_jax.state import State


class Pictures(FakeStore):
    """Each series is one random picture, standing still."""

    def frames(self, i, index_L):
        shape = (self.image_size, self.image_size, self.channels)
        picture = np.random.default_rng(i).integers(0, 255, shape)
        return np.broadcast_to(picture, (len(index_L), *shape)).astype(np.uint8)


def make_pictures(count: int) -> Pictures:
    interval = 0.5 + np.arange(count)
    series = tuple(FakeSeries("test", 6, np.arange(6) * gap) for gap in interval)
    subject = np.arange(count, dtype=np.int32)
    return Pictures(series=series, subject_index=subject, image_size=32, channels=1)


def make_trained(method, spatial, embed) -> pretext.Trained:
    """A network without parameters: what it is shown and when, as told."""
    config = tiny.shrink(method.get_config("phantom_cardiac"), Path("/nowhere"))
    augment = config.augment
    for name in set(augment) - {"time_origin"}:  # two views of a series are then alike
        augment[name] = (1.0, 1.0) if name in ("crop", "blur_sigma") else 0.0
    network = probe_network.make(4, 32)._replace(
        spatial=lambda p, e, clip, valid, packed=None, *, train, key: (spatial(clip), e),
        embed_time=lambda p, x_BTD, time_BT: x_BTD + embed(time_BT),
        temporal=lambda p, x, valid, *, causal=False, train, key: (x.mean(1), x),
        project=lambda p, e, cls, counted=None, *, train: (cls, e),
        predict=lambda p, token: token,
        mask_token=lambda p: jnp.zeros(WIDTH),
    )
    learner = step.Learner(
        network,
        OBJECTIVES[config.method],
        FrozenConfigDict(dict(config.objective)),
        None,
        None,
        FrozenConfigDict(config),
        config.seed,
    )
    return pretext.Trained(learner, State(np.int32(0), {}, {}, (), {}))


def blind(clip_BTHWC):
    return jnp.zeros((*clip_BTHWC.shape[:2], WIDTH))


def seeing(clip_BTHWC):
    rows = clip_BTHWC[..., 0].reshape(*clip_BTHWC.shape[:2], -1)
    return rows[..., :WIDTH] - rows[..., WIDTH : 2 * WIDTH]


def no_clock(time_BT):
    return 0 * time_BT[..., None]


def clock(time_BT):
    return jnp.stack([jnp.cos(0.1 * k * time_BT) for k in range(1, WIDTH + 1)], -1)


def test_a_network_of_times_alone_is_retrieved_without_images():
    store, sizes = make_pictures(21), dict(size=11, seed=0)
    timed = pretext.retrieval(store, range(21), make_trained(csimclr_te, blind, clock), **sizes)
    assert timed.blank_top1 > 0.9 and timed.top1 == timed.blank_top1
    assert timed.series == 20 and timed.chance == 1 / 19  # two equal batches
    assert "timestamps alone" in alarms.blank(timed).alarm
    sees = pretext.retrieval(store, range(21), make_trained(csimclr_te, seeing, no_clock), **sizes)
    assert sees.top1 == 1 and sees.blank_top1 == pytest.approx(sees.chance)
    assert sees.rank > timed.rank and sees.inter_cosine < 0.9
    assert not alarms.blank(sees).alarm and not alarms.embedding(sees).alarm
    assert pretext.retrieval(store, [0], make_trained(csimclr_te, seeing, clock), **sizes) is None
    few = pretext.retrieval(store, [0, 1], make_trained(csimclr_te, seeing, no_clock), **sizes)
    assert np.isnan(few.rank) and few.inter_cosine < 0.9 and not alarms.embedding(few).alarm


def test_the_target_moves_with_the_images_that_it_depends_on():
    store, sizes = make_pictures(12), dict(size=12, seed=0)
    sees = pretext.target(store, range(12), make_trained(tvrl, seeing, clock), **sizes)
    assert sees.moved > 0.5 and sees.cosine < 0.9
    constant = pretext.target(store, range(12), make_trained(tvrl, blind, clock), **sizes)
    assert constant.moved == 0
    assert (
        not alarms.target(sees).alarm and "not depend on the image" in alarms.target(constant).alarm
    )
    none = pretext.target(store, range(12), make_trained(csimclr_te, seeing, clock), **sizes)
    assert none is None


def test_a_target_of_places_and_times_does_not_move():
    """As in the published code, whose target is mask token + position + time embedding."""
    rng = np.random.default_rng(0)
    views = {
        "clip_BVTHWC": jnp.asarray(rng.random((5, 2, 4, 2, 2, 1))),
        "time_BVT": jnp.asarray(rng.random((5, 2, 4))),
        "valid_BVT": jnp.asarray(np.arange(4) < rng.integers(2, 5, (5, 1, 1))).repeat(2, 1),
    }

    def places(seen):
        return jnp.stack([jnp.sin(seen["time_BVT"]), jnp.cos(seen["time_BVT"])], -1)

    def images(seen):
        return seen["clip_BVTHWC"].reshape(5, 2, 4, 4)

    moved, alike = pretext.exchange(places, views)
    assert moved == 0 and alike == pytest.approx(1)
    moved, _ = pretext.exchange(images, views)
    before = np.asarray(images(views))
    after = np.roll(before, 1, axis=0)
    valid = np.asarray(views["valid_BVT"] & jnp.roll(views["valid_BVT"], 1, axis=0))
    expected = np.square(after - before)[valid].sum(-1).mean()
    spread = np.square(before[valid] - before[valid].mean(0)).sum(-1).mean()
    assert moved == pytest.approx(expected / spread / 2, rel=1e-4)


def test_constant_features_have_no_spread_and_no_rank():
    assert findings.spread(np.ones((9, 4))) == (0.0, 0.0)
    rank, share = findings.spread(10 + np.concatenate([np.eye(4), -np.eye(4)] * 2))
    assert rank == pytest.approx(4, rel=1e-3) and share == pytest.approx(1 / np.sqrt(401), rel=1e-3)
    assert not alarms.spread(rank, share).alarm
    assert "collapsed" in alarms.spread(*findings.spread(np.ones((9, 4)))).alarm
