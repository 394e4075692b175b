"""Laws of clip sampling; the densities and visit histories meet the published recording."""

import json

import numpy as np
import pytest

from tvrl_jax.data import clips
from tvrl_jax.errors import UserError


@pytest.fixture(scope="module")
def recording(parity_dir):
    path = parity_dir / "12_samplers.json"
    return json.loads(path.read_text())["facts"], np.load(parity_dir / "12_samplers.npz")


def draw(
    rng, total, *, sampling="random", windows=1, interval="linear_decrease", frames=8, stride=2
):
    return clips.draw_clip(
        rng,
        total,
        frames=frames,
        stride=stride,
        sampling=sampling,
        windows=windows,
        interval=interval,
        views=2,
        drop=0.0,
        drop_spread=0.0,
    )


SHAPES = [
    (t, n, s) for t in (1, 2, 3, 7, 8, 9, 15, 16, 17, 25, 50) for n in (1, 4, 8) for s in (1, 2, 3)
]


@pytest.mark.parametrize("sampling", clips.SAMPLINGS)
@pytest.mark.parametrize("windows", [1, 2])
def test_a_clip_is_a_strided_run_of_its_series_padded_at_the_right(sampling, windows):
    rng = np.random.default_rng(0)
    for total, frames, stride in SHAPES * 20:
        index_VT, valid_VT, _ = draw(
            rng, total, sampling=sampling, windows=windows, frames=frames, stride=stride
        )
        assert index_VT.shape == valid_VT.shape == (windows, frames)
        assert valid_VT[:, 0].all()
        for index_T, valid_T in zip(index_VT, valid_VT, strict=True):
            assert (np.diff(valid_T.astype(int)) <= 0).all()
            assert (np.diff(index_T[valid_T]) == stride).all()
            assert (index_T[~valid_T] == 0).all()
            assert index_T[valid_T].min() >= 0 and index_T[valid_T].max() < total


@pytest.mark.parametrize("sampling", clips.SAMPLINGS)
def test_anchors_lie_at_the_end_that_a_window_is_counted_from_and_differ(sampling):
    """Of a short series both windows may share their other end, the whole remainder."""
    rng = np.random.default_rng(0)
    for total, frames, stride in SHAPES * 5:
        index_VT, valid_VT, anchor_V = draw(
            rng, total, sampling=sampling, windows=2, frames=frames, stride=stride
        )
        for index_T, valid_T, anchor in zip(index_VT, valid_VT, anchor_V, strict=True):
            assert anchor == index_T[valid_T][-1 if sampling == "newest" else 0]
        assert (anchor_V[0] != anchor_V[1]) == (total > 1)


def test_a_window_is_padded_only_where_the_series_has_no_frame_left():
    for total, frames, stride in SHAPES:
        _, valid_NT = clips.dense_windows(total, frames=frames, stride=stride)
        possible = min(frames, -(-total // stride))
        assert (valid_NT.sum(axis=1) == possible).all(), (total, frames, stride)


def test_dense_windows_meet_the_recording(recording):
    _, arrays = recording
    for total, frames, stride in [
        (50, 8, 2),
        (16, 8, 2),
        (17, 8, 2),
        (25, 8, 2),
        (50, 8, 1),
        (8, 8, 1),
    ]:
        index_NT, valid_NT = clips.dense_windows(total, frames=frames, stride=stride)
        np.testing.assert_array_equal(index_NT, arrays[f"out/dense_T{total}_L{frames}_s{stride}"])
        assert valid_NT.all()


def test_random_starts_are_uniform_over_the_recorded_range(recording):
    facts, _ = recording
    rng = np.random.default_rng(1)
    for total, stride in [(50, 2), (25, 2), (16, 2), (50, 1), (9, 1)]:
        fact = facts["random"][f"T{total}_L8_s{stride}"]
        last = fact["randint_inclusive"][1]
        starts = [
            clips.random_start(rng, total, frames=8, stride=stride) for _ in range(400 * (last + 1))
        ]
        count = np.bincount(starts, minlength=last + 1)
        assert len(count) == last + 1
        assert abs(count - 400).max() < 5 * np.sqrt(400)
        index_T, _ = clips.window(last, total, frames=8, stride=stride, sampling="random")
        np.testing.assert_array_equal(index_T, fact["last_start_indices"])


def test_published_densities_meet_the_recording(recording):
    _, arrays = recording
    for name in clips.DENSITIES:
        for count in (1, 2, 35):
            np.testing.assert_allclose(
                clips.interval_density(name, count),
                arrays[f"out/pmf_{name}_range{count}"],
                atol=1e-12,
            )


@pytest.mark.parametrize("name", clips.DENSITIES)
def test_every_possible_gap_and_no_other_has_a_chance(name):
    for largest in (1, 2, 3, 34):
        density = clips.gap_density(name, largest)
        assert density.shape == (largest,) and density.min() > 0
        np.testing.assert_allclose(density.sum(), 1)
        shape = clips.interval_density(name, largest + 2)[1:-1]
        np.testing.assert_allclose(density / density[0], shape / shape[0])


@pytest.mark.parametrize("name", clips.DENSITIES)
@pytest.mark.parametrize("sampling", clips.SAMPLINGS)
def test_gaps_of_two_windows_follow_the_density(name, sampling):
    rng, draws = np.random.default_rng(2), 6000
    gaps = np.zeros(35)
    for _ in range(draws):
        index_VT, _, _ = draw(rng, 50, sampling=sampling, windows=2, interval=name)
        gaps[abs(index_VT[0, 0] - index_VT[1, 0])] += 1
    expected = draws * clips.gap_density(name, 34)
    assert gaps[0] == 0
    chi_square = ((gaps[1:] - expected) ** 2 / expected).sum()
    assert chi_square < 75  # 33 degrees of freedom: exceeded once in 20,000


def test_either_of_two_windows_may_be_the_earlier():
    rng = np.random.default_rng(3)
    first_earlier = [np.diff(draw(rng, 50, windows=2)[0][:, 0])[0] > 0 for _ in range(600)]
    assert 230 < sum(first_earlier) < 370


@pytest.mark.parametrize("sampling", clips.SAMPLINGS)
def test_two_windows_differ_whenever_there_is_more_than_one_frame(sampling):
    rng = np.random.default_rng(4)
    for total, frames, stride in [shape for shape in SHAPES if shape[0] > 1] * 30:
        index_VT, valid_VT, _ = draw(
            rng, total, sampling=sampling, windows=2, frames=frames, stride=stride
        )
        one, two = (set(i[v]) for i, v in zip(index_VT, valid_VT, strict=True))
        assert one != two, (total, frames, stride)
        longest = min(frames, -(-total // stride))
        assert valid_VT.sum(axis=1).min() >= longest / 2, (total, frames, stride)


def test_a_series_of_one_frame_gives_the_same_window_twice():
    index_VT, valid_VT, _ = draw(np.random.default_rng(0), 1, windows=2)
    assert (index_VT == 0).all()
    assert valid_VT.sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize("windows", [1, 2])
def test_newest_holds_the_newest_visit_and_counts_back_from_it(windows, recording):
    facts, _ = recording
    rng = np.random.default_rng(5)
    for total, stride in [(t, s) for t in (1, 3, 7, 8, 12, 20) for s in (1, 2, 3)]:
        index_VT, valid_VT, _ = draw(rng, total, sampling="newest", stride=stride, windows=windows)
        chosen = index_VT[0][valid_VT[0]].tolist()
        assert chosen == list(range(total - 1, -1, -stride))[:8][::-1]
        if stride == 1:  # with a larger stride the published code counts from the OLD end
            assert chosen == facts["sample_scan_history_indices"][f"n{total}_L8_s1"]


def test_times_count_from_the_window_or_from_the_series():
    time_S = 1.6e9 + np.array([0.02, 0.06, 0.11, 0.13, 0.2])  # float32 cannot hold these
    index_VT, valid_VT = (
        np.array([[1, 2, 3, 0], [2, 4, 0, 0]]),
        np.array([[1, 1, 1, 0], [1, 1, 0, 0]]) > 0,
    )
    near = dict(atol=1e-6)
    time_VT = clips.clip_times(time_S, index_VT, valid_VT, relative=True)
    np.testing.assert_allclose(time_VT, [[0, 0.05, 0.07, 0], [0, 0.09, 0, 0]], **near)
    absolute_VT = clips.clip_times(time_S, index_VT, valid_VT, relative=False)
    np.testing.assert_allclose(
        absolute_VT, np.where(valid_VT, time_VT + np.array([[0.04], [0.09]]), 0), **near
    )
    np.testing.assert_allclose(clips.since_first(time_S, np.array([3, 4])), [0.11, 0.18], **near)
    assert time_VT.dtype == absolute_VT.dtype == np.float32


def test_visit_times_meet_the_recording(recording):
    _, arrays = recording
    years_S = 2015 + np.arange(20) / 2
    for total in (1, 3, 7, 8, 12, 20):
        index_VT, valid_VT, _ = draw(np.random.default_rng(0), total, sampling="newest", stride=1)
        time_VT = clips.clip_times(years_S[:total], index_VT, valid_VT, relative=False)
        np.testing.assert_allclose(time_VT[valid_VT], arrays[f"out/history_n{total}_s1_years"])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (dict(interval="linear_decreasing"), 'Did you mean "linear_decrease"'),
        (dict(sampling="newst"), 'Did you mean "newest"'),
        (dict(windows=3), "1 or 2"),
        (dict(frames=0), "clips.frames = 0"),
        (dict(stride=-1), "clips.stride = -1"),
        (dict(drop=1.5), "clips.drop = 1.5"),
        (dict(drop=0.3, drop_spread=0.4), "clips.drop_spread = 0.4: .* between 0 and 0.3"),
    ],
)
def test_a_wrong_value_is_named(wrong, hint):
    right = dict(frames=8, stride=2, sampling="random", windows=1, interval="constant")
    right |= dict(drop=0.0, drop_spread=0.0)
    clips.check(**right)
    with pytest.raises(UserError, match=hint):
        clips.check(**right | wrong)


@pytest.mark.parametrize("windows", [1, 2])
def test_frames_are_dropped_for_each_view_the_newest_never_and_the_rest_moves_together(windows):
    left = np.zeros((2, 8))
    rng = np.random.default_rng(6)
    for _ in range(400):
        index, valid, _ = draw(rng, 9, sampling="newest", windows=windows, stride=1)
        some, seen = clips.drop_frames(rng, index, valid, views=2, drop=0.5, spread=0.0)
        assert some.shape == seen.shape == (2, 8)
        for view in range(2):
            whole = index[min(view, windows - 1)][valid[min(view, windows - 1)]]
            kept = some[view][seen[view]]
            assert seen[view][: len(kept)].all() and not some[view][len(kept) :].any()
            assert (np.diff(kept) > 0).all() and set(kept) <= set(whole) and kept[-1] == whole[-1]
            left[view, : len(whole) - 1] += np.isin(whole[:-1], kept)
    assert (abs(left[0, :7] / 400 - 0.5) < 0.1).all()
    assert abs(left[0] - left[1]).sum() > 0  # each view lacks its own


def test_views_that_draw_their_own_probability_hold_any_number_of_frames():
    """Uniform in 0 to 1, so that each of the numbers 1 to 8 is as likely; together a half is left.
    Without a spread the draws are those of before."""
    rng = np.random.default_rng(7)
    index, valid = np.arange(8)[None], np.ones((1, 8), bool)
    kept = [
        clips.drop_frames(rng, index, valid, views=2, drop=0.5, spread=0.5)[1].sum(1)
        for _ in range(2000)
    ]
    share = np.bincount(np.ravel(kept), minlength=9)[1:] / 4000
    assert (abs(share - 1 / 8) < 0.03).all()
    assert abs(np.corrcoef(np.transpose(kept))[0, 1]) < 0.1  # each view by itself
