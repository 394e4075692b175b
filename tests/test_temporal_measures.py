"""Measures of time: against loops, and on encoders and features whose answer is known."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t as student

from tests.fake_store import FakeSeries, FakeStore
from tests.sights import (
    BOOTSTRAP,
    SERIES,
    WIDTH,
    first_frame,
    make_sight,
    make_table,
    mean_of_frames,
    with_time,
)
from tvrl_jax.probing import intervals, stats, windows
from tvrl_jax.probing.tasks import Task
from tvrl_jax.probing.temporal import (
    changes,
    cosine,
    elapsed,
    findings,
    measured,
    sensitivity,
    similarity,
    trajectory,
)
from tvrl_jax.probing.temporal.sight import over_time
from tvrl_jax.probing.windows import Windows
from tvrl_jax.report import alarms


@pytest.mark.parametrize("what", changes.ORDER)
def test_a_change_of_order_permutes_the_frames_of_a_window_and_nothing_else(what):
    table = make_table()
    new = changes.change(table, what, scale=2.0, seed=0)
    assert (new.time_WT == table.time_WT).all() and (new.valid_WT == table.valid_WT).all()
    for before, after, valid in zip(table.frame_WT, new.frame_WT, table.valid_WT, strict=True):
        assert sorted(after[valid]) == list(before[valid])
        assert (after[~valid] == before[~valid]).all()
        assert (after != before).any() == (valid.sum() > 1)
        if what == "reversed":
            assert (after[valid] == before[valid][::-1]).all()


def test_a_change_of_times_leaves_the_frames():
    table = make_table()
    for what, factor in (("times blank", 0), ("times scaled", 2)):
        new = changes.change(table, what, scale=2.0, seed=0)
        assert (new.frame_WT == table.frame_WT).all()
        np.testing.assert_allclose(new.time_WT, factor * table.time_WT)


def _moves(sight, table):
    seen = sensitivity.see(sight, table, scale=2.0, seed=0)
    return {what: sensitivity.moves(seen, what, SERIES) for what in changes.CHANGES}


def test_an_encoder_that_ignores_order_and_time_does_not_move():
    table = make_table()
    for what, move_N in _moves(make_sight(mean_of_frames, table), table).items():
        assert np.isnan(move_N[0]), f"{what}: one frame has no order"
        np.testing.assert_allclose(move_N[1:], 0, atol=1e-6)


def test_an_encoder_of_time_moves_with_times_alone():
    table = make_table()
    blank_FD = np.zeros((int(table.valid_WT.sum()), WIDTH))
    moved = _moves(make_sight(mean_of_frames, table, blank_FD, with_time), table)
    for what in changes.ORDER:
        np.testing.assert_allclose(moved[what][1:], 0, atol=1e-6)
    for what in changes.TIMES:
        assert (moved[what][1:] > 1e-5).all() and np.nanmean(moved[what]) > 0.01


@pytest.mark.parametrize(("embed", "ignored"), [(None, True), (with_time, False)])
def test_times_that_move_nothing_raise_an_alarm(embed, ignored):
    table = make_table()
    sight = make_sight(mean_of_frames, table, embed=embed)
    seen = sensitivity.see(sight, table, scale=2.0, seed=0)
    others_N = cosine.cosines(seen.intact_WD, table.series_W, sight.subject_N).other_patients
    found = sensitivity.measure(seen, others_N, sight.subject_N, **BOOTSTRAP)
    model = SimpleNamespace(dtype="float32")
    judged = findings.gather(found, seen.intact_WD, model, True, None, None)
    assert ("time embedding is ignored" in alarms.time_used(judged).alarm) == ignored


def test_reversal_of_an_encoder_of_the_first_frame_is_the_way_to_the_last():
    table = make_table()
    sight = make_sight(first_frame, table)
    move_N = _moves(sight, table)["reversed"]
    for i in range(1, SERIES):
        frame_TD = sight.frame_FD[table.frame_WT[i][table.valid_WT[i]]]
        first, last = frame_TD[0], frame_TD[-1]
        cos = first @ last / np.linalg.norm(first) / np.linalg.norm(last)
        assert move_N[i] == pytest.approx(1 - cos, abs=1e-5)


def test_what_order_costs_is_lost_where_it_matters():
    """A target that is in the first frame: gone after reversal, and untouched by blank times."""
    table = make_table()
    sight = make_sight(first_frame, table)
    value_N = sight.frame_FD[table.frame_WT[:, 0], 0]
    split = {name: np.arange(SERIES) for name in ("train", "val", "test")}
    cls_ND = over_time(sight, table)[0]
    seen = sensitivity.see(sight, table, scale=2.0, seed=0)
    task = Task("first", "regression", (), value_N)
    fits = (split, sight.subject_N, dict.fromkeys(split, cls_ND), (1e-3, 1.0))
    found = sensitivity.cost(seen, [task], *fits, **BOOTSTRAP)
    assert measured.find(found, "first", "r2") > 0.99
    assert measured.find(found, "first", "r2_drop_times_blank") == 0
    drop = next(m for m in found if m.metric == "r2_drop_reversed")
    assert drop.interval.low > 0.5 and drop.patients == SERIES // 2
    assert not sensitivity.cost(seen, [], *fits, **BOOTSTRAP)


def test_what_order_costs_one_patient_has_no_interval():
    """However many series: every resample is this patient again."""
    table = make_table()
    sight = make_sight(first_frame, table)
    split = {name: np.arange(SERIES) for name in ("train", "val", "test")}
    cls = dict.fromkeys(split, over_time(sight, table)[0])
    seen = sensitivity.see(sight, table, scale=2.0, seed=0)
    task = Task("first", "regression", (), sight.frame_FD[table.frame_WT[:, 0], 0])
    one_N = np.zeros(SERIES, int)
    found = sensitivity.cost(seen, [task], split, one_N, cls, (1e-3, 1.0), **BOOTSTRAP)
    assert any("_drop_" in m.metric for m in found) and {m.patients for m in found} == {1}
    assert all(np.isnan(m.interval[1:3]).all() and np.isfinite(m.interval.value) for m in found)


def test_a_ratio_is_that_of_sums_over_drawn_patients():
    rng = np.random.default_rng(0)
    top_N, bottom_N, subject_N = rng.random(12), rng.random(12), np.arange(12) // 3
    top_N[4] = np.nan
    found = measured.ratio("x", "y", top_N, bottom_N, subject_N, **BOOTSTRAP)
    known = np.flatnonzero(np.isfinite(top_N))
    assert found.interval.value == pytest.approx(top_N[known].sum() / bottom_N[known].sum())
    assert found.patients == 4
    weight_RN = stats.resample(subject_N[known], **BOOTSTRAP)
    sample = [(w @ top_N[known]) / (w @ bottom_N[known]) for w in weight_RN]
    low, high = np.percentile(sample, intervals.MIDDLE)
    half = student.ppf(0.975, stats.effective(subject_N[known]) - 1) * (high - low) / 2
    value = found.interval.value
    assert found.interval[1:3] == pytest.approx((value - half, value + half))


def test_cosines_are_means_over_all_pairs():
    rng = np.random.default_rng(0)
    series_W = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4])
    subject_N = np.array([7, 7, 2, 5, 5])
    cls_WD = rng.normal(size=(len(series_W), 4))
    found = cosine.cosines(cls_WD, series_W, subject_N)

    def loop(i, counts):
        pairs = [
            cls_WD[a] @ cls_WD[b] / np.linalg.norm(cls_WD[a]) / np.linalg.norm(cls_WD[b])
            for a, b in itertools.product(range(len(series_W)), repeat=2)
            if series_W[a] == i and a != b and counts(i, series_W[b])
        ]
        return np.mean(pairs) if pairs else np.nan

    rules = (
        lambda i, j: i == j,
        lambda i, j: i != j and subject_N[i] == subject_N[j],
        lambda i, j: subject_N[i] != subject_N[j],
    )
    for value_N, rule in zip(found, rules, strict=True):
        np.testing.assert_allclose(value_N, [loop(i, rule) for i in range(5)])
    assert np.isnan(found.same_series[2]) and np.isnan(found.same_patient[2])


def test_pairs_are_of_one_window_in_order_and_never_twice():
    table = make_table()
    row_W = np.r_[0:4, 3, 4, 4:SERIES]  # series 3 and 4 have two windows
    table = Windows(*(a[row_W] for a in table))
    table.time_WT[4] += 1  # the second one is later
    pairs = elapsed.draw(table, np.arange(SERIES), pairs=3, seed=0)
    assert (pairs.first_P < pairs.second_P).all()
    assert table.valid_WT[pairs.window_P, pairs.second_P].all()
    time = table.time_WT[pairs.window_P, pairs.second_P]
    assert (pairs.elapsed_P == time - table.time_WT[pairs.window_P, pairs.first_P]).all()
    assert (pairs.subject_P == table.series_W[pairs.window_P]).all()
    places = set(zip(*pairs[:3], strict=True))
    assert len(places) == len(pairs.window_P)
    count_N = np.bincount(pairs.subject_P, minlength=SERIES)
    assert count_N[0] == 0 and count_N.max() == 3


def test_two_frames_that_several_windows_hold_are_one_pair():
    """And it is taken from any of them: from the first one the later frame would be its last."""
    store = FakeStore(series=[FakeSeries("test", 20, np.arange(20) * 0.04) for _ in range(30)])
    cut = dict(sampling="random", relative_time=True, time_origin="window", every=1)
    table = windows.cut(store, range(30), frames=8, stride=1, **cut)
    pairs = elapsed.draw(table, np.arange(30), pairs=60, seed=0)
    frame_P = (table.frame_WT[pairs.window_P, place] for place in (pairs.first_P, pairs.second_P))
    assert len(set(zip(*frame_P, strict=True))) == len(pairs.window_P) == 30 * 60
    assert np.mean(pairs.first_P + pairs.second_P) == pytest.approx(7, abs=0.2)


def _elapsed(sight, table, **changed):
    splits = ("train", "val", "test")
    tables, sights = dict.fromkeys(splits, table), dict.fromkeys(splits, sight)
    settings = dict(known={}, pairs=6, seed=0, bootstrap=BOOTSTRAP) | changed
    return elapsed.measure(sights, tables, (1e-3, 1.0, 1e3), **settings)


def test_elapsed_time_is_read_from_features_that_hold_the_time():
    table = make_table()
    rng = np.random.default_rng(0)
    frame_FD = rng.normal(size=(int(table.valid_WT.sum()), WIDTH))
    frame_FD[table.frame_WT[table.valid_WT], 2] = table.time_WT[table.valid_WT]
    found = _elapsed(make_sight(mean_of_frames, table, frame_FD), table)
    assert measured.find(found, elapsed.FRAMES, "r2") > 0.99
    assert measured.find(found, elapsed.UNTIMED, "r2") > 0.99  # the content tells
    assert measured.find(found, elapsed.SHUFFLED, "r2") < 0.3
    assert 0 < measured.find(found, elapsed.POSITION, "r2") < 0.95  # irregular times
    one = next(m for m in found if m.task == elapsed.FRAMES)
    assert one.patients == len(set(make_sight(mean_of_frames, table).subject_N))


def test_elapsed_time_of_a_time_embedding_is_in_the_tokens_and_not_in_the_frames():
    table = make_table()
    found = _elapsed(make_sight(mean_of_frames, table, embed=with_time), table)
    assert measured.find(found, elapsed.TOKENS, "r2") > 0.9
    assert measured.find(found, elapsed.FRAMES, "r2") < 0.3
    assert measured.find(found, elapsed.UNTIMED, "r2") < 0.3
    one = Windows(*(a[:1] for a in table))  # a series of a single frame
    assert _elapsed(make_sight(mean_of_frames, table), one) == []


def test_a_heat_map_is_the_mean_of_cosines_by_time():
    rng = np.random.default_rng(0)
    groups = [
        similarity.Moments(rng.normal(size=(n, 3)), np.sort(rng.uniform(0, 4.2, n)))
        for n in (2, 5, 9)
    ]
    edge_E = np.linspace(0, 4, 5)
    value_EE = similarity.heat_map(groups, edge_E)
    for i, j in np.ndindex(4, 4):
        means = []
        for feature, time in groups:
            pairs = [
                feature[a] @ feature[b] / np.linalg.norm(feature[a]) / np.linalg.norm(feature[b])
                for a, b in itertools.permutations(range(len(time)), 2)
                if edge_E[i] <= time[a] < edge_E[i + 1] and edge_E[j] <= time[b] < edge_E[j + 1]
            ]
            means += [np.mean(pairs)] if pairs else []
        expected = np.mean(means) if means else np.nan
        np.testing.assert_allclose(value_EE[i, j], expected)
    assert np.isnan(value_EE).any() and np.isfinite(value_EE).any()
    centred = np.concatenate([g.feature_nD for g in similarity.centre(groups)])
    np.testing.assert_allclose(centred.mean(0), 0, atol=1e-12)


def test_groups_are_cut_from_series_and_windows():
    table = make_table()
    length_N = table.valid_WT.sum(1)
    store = SimpleNamespace(
        series=[
            FakeSeries("test", n, 5.0 + np.cumsum(np.ones(n)) * (i + 1))
            for i, n in enumerate(length_N)
        ]
    )
    frame_FD = np.arange(length_N.sum())[:, None] * np.ones(2)
    order = np.arange(SERIES)
    groups = similarity.of_series(store, order, frame_FD)
    assert [len(g.time_n) for g in groups] == length_N.tolist()
    assert groups[4].time_n[0] == 0 and np.allclose(np.diff(groups[4].time_n), 5)
    tokens = similarity.of_windows(table, frame_FD[table.frame_WT])
    for a, b in zip(groups, tokens, strict=True):
        assert (a.feature_nD == b.feature_nD).all()
    edge_E = similarity.bins(groups, 50)
    assert len(edge_E) - 1 == length_N.max() and edge_E[0] == 0


def test_a_heat_map_of_times_that_count_down_to_a_newest_frame_holds_them_all():
    rng = np.random.default_rng(0)
    groups = [similarity.Moments(rng.normal(size=(n, 3)), np.arange(n) - n + 1.0) for n in (6, 6)]
    edge_E = similarity.bins(groups, 24)
    np.testing.assert_allclose(edge_E[[0, -1]], (-5, 0))
    value_EE = similarity.heat_map(groups, edge_E)
    assert np.isfinite(value_EE[~np.eye(len(value_EE), dtype=bool)]).all()


def test_trajectories_follow_time_and_know_their_own_mean():
    rng = np.random.default_rng(0)
    way_D, other_D = rng.normal(size=(2, 6))
    groups = [
        similarity.Moments(np.outer(np.arange(n), way_D) + 50 * s * other_D, np.arange(n))
        for s, n in enumerate((4, 6, 5))
    ]
    drawn = trajectory.choose(groups, np.array([1, 1, 2]), 5)
    assert drawn.tolist() == [1, 2]  # the longest of each patient
    raw, centred = (trajectory.trace(groups, drawn, own_mean=own) for own in (False, True))
    assert centred.share_2[0] == pytest.approx(1) and raw.share_2.sum() == pytest.approx(1)
    for k in drawn:
        along = centred.position_P2[centred.series_P == k, 0]
        assert np.allclose(np.abs(np.diff(along)), np.abs(along[1] - along[0]))
        np.testing.assert_allclose(along.mean(), 0, atol=1e-9)
    apart = [raw.position_P2[raw.series_P == k].mean(0) for k in drawn]
    assert np.linalg.norm(apart[0] - apart[1]) > 1


def test_drawn_patients_are_spread_over_those_with_most_moments():
    def chosen(length_N, count):
        groups = [similarity.Moments(np.zeros((n, 2)), np.arange(n)) for n in length_N]
        return trajectory.choose(groups, np.arange(len(groups)), count).tolist()

    assert chosen([50] * 100, 4) == [0, 33, 66, 99]
    assert chosen([3, 9, 4, 7, 4, 4, 2], 3) == [1, 2, 5]  # 9 and 7, and three of 4
    assert chosen([3, 9, 4, 7], 2) == [1, 3] and chosen([5, 5, 5], 1) == [0]
    assert chosen([4, 6], 5) == [1, 0]
