"""What the timestamps alone tell about the subject (it must be nothing)."""

import jax
import numpy as np
import pytest

from configs import tvrl
from tvrl_jax.augment import augment
from tvrl_jax.data.phantom.cardiac import subject
from tvrl_jax.data.phantom.retina import subject as retina

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


def visit_dates(patients):
    """time_BVT and valid_BVT of the synthetic retinas' last visits, in years."""
    time, valid = np.zeros((patients, 1, 8), np.float32), np.zeros((patients, 1, 8), bool)
    for i in range(patients):
        years = np.array(retina.draw(0, i, nuisance="mild").visits.years)[-8:]
        time[i, 0, : len(years)], valid[i, 0, : len(years)] = years - years[0], True
    return time, valid


def date_retrieval(augmentation) -> float:
    """How often the dates of one view, counted back from its newest visit, find the other view."""
    time_BVT, valid_BVT = visit_dates(SUBJECTS // 2)
    blank = np.zeros((*time_BVT.shape, 8, 8, 1), np.uint8)
    draw = jax.jit(
        lambda k: augment(k, blank, time_BVT, valid_BVT, views=2, size=8, **augmentation)
    )
    found = []
    for seed in range(DRAWS):
        _, time, valid = (np.asarray(a) for a in draw(jax.random.key(seed)))
        back = [
            [(t[k].max() - t[k])[::-1] for t, k in zip(*row, strict=True)]
            for row in zip(time, valid, strict=True)
        ]
        apart = [[difference(first, second) for _, second in back] for first, _ in back]
        found.append(np.argmin(apart, axis=1) == np.arange(len(back)))
    return float(np.mean(found))


def difference(one, other) -> float:
    """Mean squared years between visits in order, and half a point for each one more or less."""
    shared = min(len(one), len(other))
    apart = np.square(one[:shared] - other[:shared]).mean()
    return apart + abs(len(one) - len(other)) / 2


def test_visits_give_a_patient_away_and_augmentation_hides_most_of_it():
    """Chance is 1 in 32. What is left is what the rate of growth needs: the scale of time."""
    config = tvrl.get_config("phantom_retina").augment
    still = config.copy_and_resolve_references()
    still.update(time_scale=0.0, time_drop=0.0, time_jitter=0.0)
    assert date_retrieval(still) > 0.7
    assert date_retrieval(config) < 0.15
