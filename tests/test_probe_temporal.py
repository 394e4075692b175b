"""Measures of time: against loops, and on encoders and features whose answer is known."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from ml_collections import FrozenConfigDict
from scipy.stats import t as student

from configs import csimclr_te, probe_temporal, tvrl
from tests import probe_network, probed, tiny
from tests.fake_store import FakeSeries, FakeStore
from tvrl_jax import metrics, step
from tvrl_jax.errors import UserError
from tvrl_jax.objectives import OBJECTIVES
from tvrl_jax.probing import check, features, intervals, stats, windows
from tvrl_jax.probing.features import Encoder
from tvrl_jax.probing.tasks import Task
from tvrl_jax.probing.temporal import (
    changes,
    cosine,
    elapsed,
    findings,
    measured,
    pretext,
    sensitivity,
    shortcuts,
    similarity,
    suite,
    trajectory,
)
from tvrl_jax.probing.temporal.measured import Measured
from tvrl_jax.probing.temporal.sight import Sight, look, over_time
from tvrl_jax.probing.windows import Windows
from tvrl_jax.report import alarms, html, tables
from tvrl_jax.report import temporal as report
from tvrl_jax.results import COLUMNS, KEY
from tvrl_jax.state import State

BOOTSTRAP = dict(samples=100, seed=0)
SERIES, FRAMES, WIDTH = 40, 6, 5


def make_table(seed: int = 0) -> Windows:
    """A window of each series, some of them short, at irregular times."""
    rng = np.random.default_rng(seed)
    length_N = rng.integers(2, FRAMES + 1, SERIES)
    length_N[0] = 1
    valid_WT = np.arange(FRAMES) < length_N[:, None]
    first_W = np.cumsum(length_N) - length_N
    time_WT = np.cumsum(rng.uniform(0.2, 2, (SERIES, FRAMES)), 1)
    time_WT -= time_WT[:, :1]
    return Windows(
        np.arange(SERIES, dtype=np.int32),
        np.where(valid_WT, first_W[:, None] + np.arange(FRAMES), first_W[:, None]),
        np.where(valid_WT, time_WT, 0).astype(np.float32),
        valid_WT,
    )


def make_sight(temporal_part, table: Windows, frame_FD=None, embed=None) -> Sight:
    """A network whose temporal part is `temporal_part(x_BTD, valid_BT) -> (cls, token)`."""
    frames = int(table.valid_WT.sum())
    rng = np.random.default_rng(1)
    frame_FD = rng.normal(size=(frames, WIDTH)) if frame_FD is None else frame_FD
    network = SimpleNamespace(
        embed_time=embed or (lambda params, x_BTD, time_BT: x_BTD),
        temporal=lambda params, x_BTD, valid_BT, *, train, key: temporal_part(x_BTD, valid_BT),
    )
    # a named tuple of functions hashes by value, which the compiled passes are cached by
    network = probe_network.make(FRAMES, 8)._replace(**vars(network))
    encoder = Encoder(network, {"encoder": {"temporal": {}}}, {}, None)
    subject_N = np.arange(SERIES) // 2
    frame_FD = frame_FD.astype(np.float32)
    return Sight(encoder, None, np.arange(SERIES), subject_N, frame_FD, None, 16)


def mean_of_frames(x_BTD, valid_BT):
    weight_BT1 = valid_BT[..., None].astype(x_BTD.dtype)
    return (x_BTD * weight_BT1).sum(1) / weight_BT1.sum(1), x_BTD


def first_frame(x_BTD, valid_BT):
    return x_BTD[:, 0], x_BTD


def with_time(params, x_BTD, time_BT):
    return x_BTD + 3 * jnp.stack([jnp.cos(time_BT), jnp.sin(time_BT), *[time_BT] * 3], -1)


# windows


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


# sensitivity


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
    half = student.ppf(0.975, 3) * (high - low) / 2
    value = found.interval.value
    assert found.interval[1:3] == pytest.approx((value - half, value + half))


# cosines


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


# elapsed time


def test_pairs_are_of_one_window_in_order_and_never_twice():
    table = make_table()
    table = Windows(
        np.append(table.series_W, [3, 3]), *(np.append(a, a[3:5], 0) for a in table[1:])
    )
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


def _elapsed(sight, table, **changed):
    splits = ("train", "val", "test")
    tables, sights = dict.fromkeys(splits, table), dict.fromkeys(splits, sight)
    settings = dict(pairs=6, seed=0, bootstrap=BOOTSTRAP) | changed
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


# pictures


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
    windows = similarity.of_windows(table, frame_FD[table.frame_WT])
    for a, b in zip(groups, windows, strict=True):
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


# shortcuts


def test_patients_are_retrieved_as_by_a_loop():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(6, 3)), rng.normal(size=(8, 3))
    of_query, of_key = rng.integers(0, 4, 6), rng.integers(0, 4, 8)
    allowed = rng.random((6, 8)) < 0.7
    hit, chance = shortcuts.retrieve(query, key, of_query, of_key, allowed)
    mean = key.mean(0)
    for q in range(6):
        offered = np.flatnonzero(allowed[q])
        own = of_key[offered] == of_query[q]
        cos = [(query[q] - mean) @ (key[k] - mean) / np.linalg.norm(key[k] - mean) for k in offered]
        if not own.any():
            assert np.isnan(hit[q]) and np.isnan(chance[q])
            continue
        assert hit[q] == own[np.argmax(cos)] and chance[q] == pytest.approx(own.mean())


def test_identity_is_chance_without_any_and_certain_with_all():
    frames_N, subject_N = np.array([3, 1, 2, 4]), np.array([0, 0, 1, 1])
    blank = shortcuts.identity(np.ones((10, 4)), frames_N, np.ones((4, 4)), subject_N, **BOOTSTRAP)
    for task in {m.task for m in blank}:
        top1, chance = (measured.find(blank, task, k) for k in ("top1", "top1_chance"))
        assert top1 == pytest.approx(chance) == pytest.approx(1 / 3)
    frame_FD = np.eye(4)[np.repeat(np.arange(4), frames_N)]
    known = shortcuts.identity(frame_FD, frames_N, np.eye(2)[subject_N], subject_N, **BOOTSTRAP)
    top1 = [m.interval for m in known if m.metric == "top1"]
    assert {one.value for one in top1} == {1.0}
    for one in top1:  # two of two patients found: Clopper and Pearson's
        assert (one.low, one.high) == pytest.approx((0.025 ** (1 / 2), 1))


def test_the_interval_of_an_identity_stays_a_share():
    hit_N = np.array([1.0] * 11 + [0])
    for value_N in (hit_N, 1 - hit_N):
        made = measured.mean("identity", "top1", value_N, np.arange(12), **BOOTSTRAP).interval
        assert 0 < made.low < made.value < made.high < 1


def _table_of(table, split):
    """A store of a series per row and two series per patient of a split."""
    return SimpleNamespace(
        text=table,
        where="t.csv",
        split=lambda name: np.flatnonzero(split == name),
        subject_index=np.arange(len(table)) // 6 * 3 + np.arange(len(table)) % 3,
    )


def test_a_class_that_cannot_be_learned_does_not_understate_a_shortcut():
    """A site of test patients alone, which no probe knows, would be ranked at random."""
    split = np.array(["train", "val", "test"] * 12)
    site = np.where(np.arange(36) // 3 % 2, "north", "south").astype(object)
    known_N = site.copy()
    site[[17, 23, 26]] = "west"  # of the test split
    site[1] = "east"  # of the validation split
    table = pd.DataFrame({"site": site, "coil": (np.arange(36) // 3 % 2).astype(str)})
    table["grade"] = np.where(site == "west", "3.0", table["coil"])
    store = _table_of(table, split)
    found, left = shortcuts.load(store, ("site", "coil", "grade"), classes=4)
    patients = len({store.subject_index[k] for k in (17, 23, 26)})
    line = f"{patients} test patients of classes that no training patient has are left out."
    assert left == [f"site: {line}", f"grade: {line}"]
    assert [t.classes for t in found] == [("north", "south"), ("0", "1"), ("0", "1")]
    assert np.flatnonzero(np.isnan(found[0].value_N)).tolist() == [1, 17, 23, 26]
    series = {name: store.split(name) for name in ("train", "val", "test")}
    cls = {name: (known_N[i] == "south")[:, None] + np.zeros(2) for name, i in series.items()}
    cls = {name: cls_ND.astype(np.float32) for name, cls_ND in cls.items()}
    subject_N = store.subject_index[series["test"]]
    made = shortcuts.measure(found, series, subject_N, cls, (1e-3, 1.0), **BOOTSTRAP)
    assert measured.find(made, "site", "auroc") == 1


def test_columns_that_cannot_be_probed_are_named():
    split = np.array(["train", "val", "test"] * 4)
    table = pd.DataFrame(
        {
            "site": [str(k) for k in np.arange(12) // 3 % 2],
            "age": [str(40.5 + k) for k in range(12)],
            "sex": ["F"] * 12,
            "place": ["north", "north", "north", "south", "south", "south"] * 2,
        }
    )
    store = _table_of(table, split)
    found, left = shortcuts.load(store, ("site", "age", "sex", "place", "shoe"), classes=2)
    assert [(t.column, t.kind) for t in found] == [
        ("site", "classification"),
        ("age", "regression"),
        ("place", "classification"),
    ]
    assert [line.split(":")[0] for line in left] == ["sex", "shoe"]
    assert "no such column" in left[1] and "two different values" in left[0]


# the exercise of pretraining


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


# the whole


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two series to a patient, at two sites."""
    root = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(root, subjects=32)
    table = pd.read_csv(root / "cohort.csv")
    table["subject"] = [f"p{i // 8 * 4 + i % 4}" for i in range(32)]
    table["site"] = np.where(np.arange(32) % 8 < 4, "north", "south")
    table.to_csv(root / "cohort.csv", index=False)
    return root


@pytest.fixture
def config(tmp_path):
    c = probe_temporal.get_config()
    changed = {"features.cache": str(tmp_path / "cache"), "features.settle_batches": 2}
    changed |= {"features.batch_size": 32, "bootstrap.samples": 50, "temporal.windows": 3}
    c.update_from_flattened_dict(changed)
    return c


def quiet(line):
    pass


def test_rows_arrays_and_pictures_of_the_whole_probe(encoder, store, config, tmp_path):
    said = []
    results = probed.run_temporal(encoder, store, config, tmp_path, said.append)
    table = pd.DataFrame(results.rows)
    assert tuple(table.columns) == COLUMNS and set(table.probe) == {"temporal"}
    assert set(table.method) == {"tvrl", "untrained"} and set(table.seed) == {"all"}
    assert {*changes.CHANGES, "radius", "large", "cosine", "features", "site"} <= set(table.task)
    assert not table.duplicated(list(KEY)).any()
    assert (table.n[table.metric == "cls_change"] == 4).all()  # patients, not series
    assert any("sex" in line for line in results.notes) and set(results.notes) <= set(said)
    assert results.findings.retrieval is None and results.findings.blank > 0
    tables.update(tmp_path / "results.csv", results.rows)
    page = html.write(html.gather(tmp_path, tmp_path), html.Extras()).read_text()
    assert report.TITLE in page and "Trajectories, TVRL" in page
    shown = {row["task"] for row in report.besides(results.rows)}
    assert shown >= {"cosine", "features", "site"} and not shown & {"radius", "large", "shuffled"}
    assert "Results on the test patients" not in page  # which would mark the largest as the best
    printed = report.printed(report.rows_of(tables.read_results(tmp_path / "results.csv")))
    assert "R2, drop when times blank" in printed and "untrained encoder" in printed


def test_a_target_is_no_shortcut_besides(encoder, store, config):
    """Two AUROCs of one name would be one row, and the drops those of the other."""
    config.temporal.columns = ("site", "large")
    study = suite.plan(encoder, store, config, quiet)
    assert [task.column for task in study.columns] == ["site"]
    assert [note for note in study.notes if "large" in note] == [
        "Shortcut probe of large: it is a target, and read among those."
    ]


@pytest.mark.parametrize(
    ("patients", "smallest", "marked"), [(30, 10, False), (30, 9, True), (9, 10, True)]
)
def test_a_shortcut_of_few_patients_in_all_or_of_a_class_is_marked(patients, smallest, marked):
    interval = intervals.Interval(0.7, 0.5, 0.9, 0)
    found = [
        Measured("site", "auroc", interval, patients, smallest),
        Measured("age", "r2", interval, 30),
    ]
    rows = measured.table(found, method="tvrl", cohort="c")
    printed = report.printed(rows)
    assert ("AUROC !" in printed) == (report.SMALL_NOTE in printed) == marked
    assert "R2 !" not in printed and "patients_per_class" not in printed
    assert (report.SMALL_NOTE in report.table(rows).note) == marked


def test_rows_are_measured_on_the_features_and_patients_of_the_test(
    encoder, store, config, tmp_path
):
    """Each measure is held to a loop elsewhere; here, that it is given what it should be."""
    config.baselines, config.temporal.windows = (), 99
    results = probed.run_temporal(encoder, store, config, tmp_path, quiet)
    value = {(row["task"], row["metric"]): row["value"] for row in results.rows}
    series = store.split("test")
    settings = features.window_settings(encoder.config, config.features)
    sight = look(
        encoder, store, series, settings=settings, batch_size=32, folder=str(tmp_path), name="",
        say=quiet,
    )  # fmt: skip
    table = windows.cut(store, series, **settings)
    cls_WD, _ = over_time(sight, table)
    rank = metrics.effective_rank(windows.mean(table, cls_WD, len(series)))
    assert value["features", "effective_rank"] == pytest.approx(float(rank), rel=1e-4)
    patient_N = np.array([store.series[i].subject for i in series])
    found = cosine.cosines(cls_WD, table.series_W, patient_N)
    for name, expected_N in found._asdict().items():
        assert value["cosine", name] == pytest.approx(expected_N.mean(), abs=1e-5), name
    reversed_WD, _ = over_time(sight, changes.change(table, "reversed", scale=1.0, seed=0))
    moved_W = 1 - (cosine.unit(cls_WD) * cosine.unit(reversed_WD)).sum(1)
    share = moved_W.mean() / (1 - found.other_patients.mean())
    assert value["reversed", "cls_change"] == pytest.approx(share, rel=0.02)
    others = ~np.eye(len(series), dtype=bool)
    hit_N, _ = shortcuts.retrieve(sight.cls_ND, sight.cls_ND, patient_N, patient_N, others)
    assert value["patient identity, another series", "top1"] == pytest.approx(hit_N.mean())


def test_the_same_probe_again_gives_the_same_numbers(encoder, store, config, tmp_path):
    config.baselines = ()
    first, again = (probed.run_temporal(encoder, store, config, tmp_path, quiet) for _ in range(2))
    assert pd.DataFrame(first.rows).equals(pd.DataFrame(again.rows))


def test_without_targets_time_is_measured_all_the_same(encoder, store, config, tmp_path):
    pretraining = encoder.config.copy_and_resolve_references()
    pretraining.data.targets, config.baselines = (), ()
    bare = encoder._replace(config=pretraining)
    results = probed.run_temporal(bare, store, config, tmp_path, quiet)
    assert any("No data.targets" in note for note in results.notes)
    assert "radius" not in {row["task"] for row in results.rows}


def test_settings_that_make_no_sense_are_named(config):
    for key, value in (
        ("baselines", ("constant",)),
        ("against", ("x",)),
        ("temporal.scale", 1.0),
        ("temporal.windows", 0),
        ("temporal.retrieval", 2),
        ("temporal.seed", -1),
        ("temporal.strengths", ()),
    ):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=key):
            check.config(changed)


def test_a_joint_encoder_has_still_clips_and_tokens_of_tubelets(encoder, store, tmp_path):
    """Tokens: two tubelets of two frames, each with two patches; CLS: their mean."""

    def halves(params, extra, clip_BTHWC, valid_BT, *, train, key):
        tubelet_Bt2tN = clip_BTHWC.reshape(len(clip_BTHWC), 2, 2, 2, -1)
        return tubelet_Bt2tN[..., :3].mean(2).reshape(len(clip_BTHWC), 4, 3), extra

    network = probe_network.make(4, tiny.SIZE)._replace(
        spatial=halves,
        embed_time=None,
        temporal=lambda p, x, valid, *, train, key: (x.mean(1), x),
        grid=(2, 1, 2),
        width=3,
    )
    joint = Encoder(network, {"encoder": {"vit": {}}}, {}, encoder.config)
    settings = dict(
        frames=4, stride=1, sampling="random", relative_time=True, time_origin="window", every=1
    )
    series = store.split("test")[:2]
    kept = dict(batch_size=8, folder=str(tmp_path), name="", say=quiet)
    joint = joint._replace(network=network._replace(embed_time=lambda p, x, time: x))
    sight = look(joint, store, series, settings=settings, **kept)
    frames = sum(store.series[i].frames for i in series)
    assert sight.frame_FD.shape == (frames, 3)
    table = Windows(
        np.array([0, 1], np.int32),
        np.array([[3, 3, 3, 3], [12, 14, 13, 15]], np.int32),
        np.zeros((2, 4), np.float32),
        np.ones((2, 4), bool),
    )
    cls_WD, token_WTD = over_time(sight, table)
    np.testing.assert_allclose(cls_WD[0], sight.frame_FD[3], atol=1e-6)
    assert token_WTD.shape == (2, 4, 3)
    assert (token_WTD[1, 0] == token_WTD[1, 1]).all() and (token_WTD[1, 1] != token_WTD[1, 2]).any()
    shown = np.stack([store.frames(series[1], [k]) for k in (0, 2)]) / 255.0
    patches = shown.reshape(2, 1, 2, -1)[..., :3]
    np.testing.assert_allclose(token_WTD[1, 0], patches.mean((0, 1, 2)), atol=1e-5)
