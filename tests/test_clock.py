"""What the timestamps alone tell about the subject (it must be nothing)."""

import jax
import numpy as np
import pytest

from configs import tvrl
from tvrl_jax.augment import augment
from tvrl_jax.data.clips import clip_times, draw_clip
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


def visit_dates(seed, patients, **clips):
    """time_BVT and valid_BVT of views of the synthetic retinas' last visits, in years, as read."""
    rng, times, valids = np.random.default_rng(seed), [], []
    for i in range(patients):
        years = np.array(retina.draw(0, i, nuisance="mild").visits.years)
        index, valid, _ = draw_clip(rng, len(years), **clips)
        times.append(clip_times(years, index, valid, relative=True))
        valids.append(valid)
    return np.stack(times), np.stack(valids)


def date_views(config, *, seeds=DRAWS):
    """The dates of two views of 32 patients, drawn and moved as in pretraining: [[T_1, T_2], ..]"""
    clips = {k: v for k, v in config.clips.items() if k != "relative_time"}
    move = jax.jit(lambda k, *batch: augment(k, *batch, views=2, size=8, **config.augment))
    for seed in range(seeds):
        time, valid = visit_dates(seed, SUBJECTS // 2, **clips, views=2)
        blank = np.zeros((*time.shape, 8, 8, 1), np.uint8)
        _, time, valid = (np.asarray(a) for a in move(jax.random.key(seed), blank, time, valid))
        yield [[t[k] for t, k in zip(*row, strict=True)] for row in zip(time, valid, strict=True)]


def date_retrieval(config, apart) -> float:
    """How often the dates of one view find the other view, as the least `apart`."""
    found = []
    for views in date_views(config):
        distance = [[apart(first, second) for _, second in views] for first, _ in views]
        found.append(np.argmin(distance, axis=1) == np.arange(len(views)))
    return float(np.mean(found))


def difference(one, other) -> float:
    """Counted back from the newest: mean squared years between visits in order, and half a point
    for each one more or less."""
    one, other = ((dates.max() - dates)[::-1] for dates in (one, other))
    shared = min(len(one), len(other))
    apart = np.square(one[:shared] - other[:shared]).mean()
    return apart + abs(len(one) - len(other)) / 2


def misfit(one, other) -> float:
    """How far visits lie from the nearest of the other view, whatever the scale of time; at most
    half a year each, since either may lack what the other has."""
    one, other = one - one.max(), other - other.max()
    return min(
        nearest(one * scale, other) + abs(np.log(scale)) / 7
        for scale in np.exp(np.linspace(-0.45, 0.45, 9))
    )


def nearest(one, other) -> float:
    apart = np.minimum(abs(one[:, None] - other), 0.5)
    return (apart.min(axis=0).sum() + apart.min(axis=1).sum()) / (len(one) + len(other))


def still(name):
    config = tvrl.get_config(name)
    config.augment.update(time_scale=0.0, time_jitter=0.0, interval_scale=0.0)
    config.clips.drop = 0.0
    return config


@pytest.mark.parametrize("apart", [difference, misfit])
def test_visits_give_a_patient_away_and_augmentation_hides_most_of_it(apart):
    """Chance is 1 in 32. What is left is what the rate of growth needs: the scale of time."""
    assert date_retrieval(still("phantom_retina"), apart) > 0.7
    assert date_retrieval(tvrl.get_config("phantom_retina"), apart) < 0.15


def test_the_places_of_a_views_visits_do_not_tell_how_many_the_patient_had():
    """Views lack visits; were the gaps left open, the newest one's place would be the number."""
    config = tvrl.get_config("phantom_retina")
    clips = {k: v for k, v in config.clips.items() if k != "relative_time"}
    _, valid_BVT = visit_dates(0, 200, **clips, views=2)
    assert (np.diff(valid_BVT.astype(int)) <= 0).all()
    count_BV = valid_BVT.sum(axis=2)
    assert (count_BV[:, 0] == count_BV[:, 1]).mean() < 0.5  # else the number itself would tell


def test_the_pace_is_left():
    """Spans of views before and after: what a rate of growth is read from."""
    moved, before = tvrl.get_config("phantom_retina"), still("phantom_retina")
    before.clips.drop = moved.clips.drop
    spans = [
        np.array([np.ptp(view) for views in date_views(config) for row in views for view in row])
        for config in (before, moved)
    ]
    several = spans[0] > 0.5
    log_spans = np.log([span[several] for span in spans])
    assert np.corrcoef(log_spans)[0, 1] > 0.9
    assert abs(np.diff(log_spans.mean(axis=1))) < 0.1
