"""What the timestamps alone tell about the subject (it must be nothing)."""

import jax
import numpy as np
import pytest

from configs import tvrl
from tvrl_jax.augment import augment
from tvrl_jax.data.phantom.cardiac import subject

SUBJECTS, DRAWS = 64, 20


@pytest.fixture(scope="module")
def interval_B():
    """Seconds between the frames of synthetic hearts."""
    draw = lambda i: subject.draw(0, i, size=64, nuisance="mild").interval  # noqa: E731
    return np.array([draw(i) for i in range(SUBJECTS)], np.float32)


def clock_retrieval(interval_B, config) -> float:
    """How often the pace of one view's times finds the other view of its subject."""
    frames, stride = config.clips.frames, config.clips.stride
    time_BVT = (interval_B[:, None, None] * stride * np.arange(frames)).astype(np.float32)
    blank = np.zeros((*time_BVT.shape, 8, 8, 1), np.uint8)
    valid = np.ones(time_BVT.shape, bool)
    found = []
    draw = jax.jit(lambda k: augment(k, blank, time_BVT, valid, views=2, size=8, **config.augment))
    for seed in range(DRAWS):
        clip, time, _ = draw(jax.random.key(seed))
        assert not np.asarray(clip).any()  # no image gives the subject away
        pace_BV = np.log(np.maximum(np.diff(time).mean(-1), 1e-6))
        apart = np.abs(pace_BV[:, None, 0] - pace_BV[None, :, 1])
        found.append((apart.argmin(1) == np.arange(SUBJECTS)).mean())
    return float(np.mean(found))


def test_augmented_times_do_not_identify_the_subject(interval_B):
    # Standard error of the mean of 1,280 draws at chance: 0.0035.
    config = tvrl.get_config("phantom_cardiac")
    assert clock_retrieval(interval_B, config) < 2 / SUBJECTS


def test_without_augmentation_they_do(interval_B):
    config = tvrl.get_config("phantom_cardiac")
    config.augment.time_scale = 0.0
    assert clock_retrieval(interval_B, config) > 3 / SUBJECTS
