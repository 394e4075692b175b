"""Series of dated images: what becomes of ties, negative days, single and missing visits."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

from configs import base, ltn, tvrl
from tvrl_jax import trainer
from tvrl_jax.data import opening
from tvrl_jax.data.clips import draw_clip
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.errors import UserError
from tvrl_jax.probing import suite, tasks

# patient, eye, day, brightness of the image
VISITS = [
    ("a", "OD", 30, 3),
    ("a", "OD", -400, 1),  # before the day that counting starts from, and not in order
    ("a", "OD", -10, 2),
    ("a", "OS", 5, 4),  # one visit
    ("b", "OD", 7, 5),  # two images of one day: the table's order stays
    ("b", "OD", 7, 6),
    ("b", "OD", 9, 7),
    ("c", "OD", 0, 8),  # both of one day
    ("c", "OD", 0, 9),
]


@pytest.fixture
def root(tmp_path):
    rows = []
    for k, (patient, eye, day, grey) in enumerate(VISITS):
        image = np.full((tiny.SIZE, tiny.SIZE), 20 * grey, np.uint8)
        image[0, :2] = 0, 255  # intensity is scaled per series: one range for all
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        rows.append(dict(subject=patient, eye=eye, path=f"{k}.png", day=day, split="train"))
    pd.DataFrame(rows).to_csv(tmp_path / "visits.csv", index=False)
    return tmp_path


def settings(root, **changes):
    config = base.get_config()
    config.update_from_flattened_dict(
        {
            "data.root": str(root),
            "data.csv": "visits.csv",
            "data.columns.time": "day",
            "data.columns.series": "eye",
            "data.columns.split": "split",
            "data.time_unit": "days",
            "data.image_size": tiny.SIZE,
            "data.percentiles": (0.0, 100.0),
            "data.store": str(root / "store"),
            **changes,
        }
    )
    return config.data


def greys(store, i):
    frames = store.frames(i, np.arange(store.series[i].frames))
    return (frames[:, 5, 5, 0] / 20).round().astype(int).tolist()


def test_visits_are_sorted_by_day_and_ties_keep_the_tables_order(root):
    store = opening.open_cohort(settings(root))
    found = {
        info.id: (info.time_T.tolist(), greys(store, i)) for i, info in enumerate(store.series)
    }
    assert found == {
        "a/OD": ([-400, -10, 30], [1, 2, 3]),
        "a/OS": ([5], [4]),
        "b/OD": ([7, 7, 9], [5, 6, 7]),
        "c/OD": ([0, 0], [8, 9]),
    }


def test_target_and_outcome_are_those_of_the_newest_visit(root):
    """Of the newest day, not of the last line; of two images of one day, the later line's."""
    table = pd.read_csv(root / "visits.csv")
    columns = dict(va=np.arange(9) + 50, dead=np.arange(9) % 2, after=np.arange(9) / 2)
    table.assign(**columns).to_csv(root / "visits.csv", index=False)
    asked = {"data.columns.event": "dead", "data.columns.duration": "after"}
    asked |= {"data.targets": ("va:regression",)}
    store = opening.open_cohort(settings(root, **asked))
    newest = [0, 3, 6, 8]  # place in VISITS for a/OD, a/OS, b/OD, c/OD
    assert store.targets()[:, 0].tolist() == columns["va"][newest].tolist()
    expected = np.stack([columns["dead"], columns["after"]], axis=1)[newest]
    assert store.outcomes().tolist() == expected.tolist()


def test_dates_are_the_days_between_them_and_pack_nothing_again(root):
    days = opening.open_cohort(settings(root))
    table = pd.read_csv(root / "visits.csv")
    date = pd.Timestamp("2019-03-07") + pd.to_timedelta(table["day"], unit="days")
    table.assign(day=date.dt.strftime("%Y-%m-%d")).to_csv(root / "visits.csv", index=False)
    store = opening.open_cohort(settings(root))
    assert store.places == days.places
    for info, before in zip(store.series, days.series, strict=True):
        np.testing.assert_array_equal(info.time_T, before.time_T - before.time_T[0])
    with pytest.raises(UserError, match='"2019-04-06" is a date, and data.time_unit is "s"'):
        opening.open_cohort(settings(root, **{"data.time_unit": "s"}))


def test_days_become_years_exactly(root):
    data = settings(root, **{"data.time_unit": "years", "data.column_unit": "days"})
    store = opening.open_cohort(data)
    np.testing.assert_allclose(store.series[0].time_T * 365.25, [-400, -10, 30], rtol=1e-12)


def clips(root, **changes):
    store = opening.open_cohort(settings(root))
    cut = dict(
        frames=2, stride=1, sampling="newest", windows=1, interval="constant", relative_time=True,
        drop=0.0,
        drop_spread=0.0,
    )  # fmt: skip
    batches = train_batches(
        store, split="train", clips=cut | changes, views=2, batch_size=4, seed=0, start_step=0,
        process_index=0, process_count=1, threads=1, workers=0,
    )  # fmt: skip
    batch = next(batches)
    batches.close()
    return {store.series[i].id: k for k, i in enumerate(batch["series_B"])}, batch


def test_a_window_ends_with_the_newest_visit_and_counts_from_its_own_first(root):
    row, batch = clips(root)
    time, valid = batch["time_BVT"][:, 0], batch["valid_BVT"][:, 0]
    assert time[row["a/OD"]].tolist() == [0, 40] and valid[row["a/OD"]].all()
    assert time[row["b/OD"]].tolist() == [0, 2]
    assert valid[row["a/OS"]].tolist() == [True, False]  # one visit: the rest is padding
    assert batch["clip_BVTHWC"][row["a/OS"], 0, 1].max() == 0
    assert batch["anchor_BV"][row["a/OD"], 0] == 430  # since the first visit of the series


def test_random_windows_take_older_visits_too(root):
    ends = set()
    for seed in range(12):
        store = opening.open_cohort(settings(root))
        cut = dict(
            frames=2, stride=1, sampling="random", windows=2, interval="linear_decrease",
            relative_time=True, drop=0.0, drop_spread=0.0,
        )  # fmt: skip
        batches = train_batches(
            store, split="train", clips=cut, views=2, batch_size=4, seed=seed, start_step=0,
            process_index=0, process_count=1, threads=1, workers=0,
        )  # fmt: skip
        batch = next(batches)
        batches.close()
        row = [store.series[i].id for i in batch["series_B"]].index("a/OD")
        first, second = batch["anchor_BV"][row]
        assert first != second
        ends |= {float(first), float(second)}
    assert ends == {0.0, 390.0}


@pytest.mark.parametrize("drop", [0.0, 0.6])
def test_windows_that_all_reach_back_to_the_first_visit_are_as_far_apart_as_their_ends(drop):
    """What latent time navigation is told; between first frames it would be 0, or chance."""
    rng = np.random.default_rng(0)
    year_S = np.cumsum(rng.uniform(0.2, 2, 6))
    cut = dict(frames=8, stride=1, sampling="newest", windows=2, interval="constant")
    gaps = set()
    for _ in range(200):
        how = dict(views=2, drop=drop, drop_spread=drop / 2)
        index_VT, valid_VT, anchor_V = draw_clip(rng, 6, **cut, **how)
        last_V = [index_T[valid_T][-1] for index_T, valid_T in zip(index_VT, valid_VT, strict=True)]
        assert last_V[0] == 5 and last_V[1] < 5
        assert anchor_V.tolist() == last_V
        gaps.add(float(year_S[anchor_V[0]] - year_S[anchor_V[1]]))
    assert min(gaps) > 0 and len(gaps) > 2


def test_a_missing_visit_is_named_or_left_out_and_counted(root):
    (root / "2.png").unlink()
    with pytest.raises(UserError, match=r"row 4, .*2\.png does not exist"):
        opening.open_cohort(settings(root))
    store = opening.open_cohort(settings(root, **{"data.on_bad": "skip"}))
    assert store.series[0].time_T.tolist() == [-400, 30]
    assert [(skipped.row, skipped.reason) for skipped in store.skipped] == [
        (4, "the file does not exist")
    ]


def _with_outcomes(root, **changes):
    """A skipping cohort of VISITS whose table repeats the outcome of a series on each of its rows,
    counted from the newest."""
    table = pd.read_csv(root / "visits.csv")
    table.assign(va=np.arange(9), dead=1, after=500).to_csv(root / "visits.csv", index=False)
    asked = {"data.columns.event": "dead", "data.columns.duration": "after", "data.on_bad": "skip"}
    return settings(root, **asked, **{"data.targets": ("va:regression",)}, **changes)


@pytest.mark.parametrize("damage", ["damaged", "absent"])
def test_a_series_that_lost_its_newest_image_is_counted(root, damage, capsys):
    """Its label is that of another day, and its duration may count from one that is not there."""
    data = _with_outcomes(root)
    assert opening.open_cohort(data).notes == ()
    for name in (
        "0.png",
        "1.png",
        "6.png",
    ):  # the newest of a/OD and b/OD, and another
        (root / name).unlink() if damage == "absent" else (root / name).write_bytes(b"")
    capsys.readouterr()
    store = opening.open_cohort(data)
    (note,) = store.notes
    assert note == store.lost_note()
    assert "2 series lost the newest image, the first that of row 2:" in note
    assert store.targets()[:, 0].tolist() == [2, 3, 5, 8]  # which the note says
    assert capsys.readouterr().err.count(note) == 1
    assert opening.open_cohort(data).notes == store.notes  # a resumption, or another host
    assert "1 series lost" in store.only([1, 2]).lost_note()
    assert not store.only([1, 3]).lost_note()


def test_of_two_newest_images_of_one_day_the_later_row_is_lost(root):
    data = _with_outcomes(root)
    (root / "8.png").unlink()
    assert "the first that of row 10:" in opening.open_cohort(data).lost_note()


def test_what_a_probe_tells_of_labels_is_in_its_notes(root):
    data = _with_outcomes(root)
    (root / "0.png").unlink()
    store = opening.open_cohort(data)
    test = dict(series={"test": np.arange(0)}, subject={"test": np.arange(0)})
    notes = suite._notes(SimpleNamespace(store=store, tasks=(), **test), [])
    assert notes == [store.lost_note()]


def _gaps(store, task) -> list[str]:
    """What a probe says of the series that it has to leave out."""
    test = dict(series={"test": np.arange(0)}, subject={"test": np.arange(0)})
    return suite._notes(SimpleNamespace(store=store, tasks=(task,), **test), [])


def test_a_value_at_an_older_visit_alone_is_told_from_none(root):
    table = pd.read_csv(root / "visits.csv")
    va = ["", 1, "", "", 5, 6, "NA", 8, ""]  # newest: rows 0, 3, 6 and 8
    dead = [1, "", "", "", "", "", 0, 1, ""]
    after = [2, "", "", "", "", "", 3, 4, ""]
    table.assign(va=va, dead=dead, after=after).to_csv(root / "visits.csv", index=False)
    asked = {"data.columns.event": "{dead}", "data.columns.duration": "after"}
    asked |= {"data.targets": ("va:regression",)}
    store = opening.open_cohort(settings(root, **asked))
    value_N = store.targets()[:, 0]
    assert _gaps(store, tasks.Task("va", "regression", (), value_N)) == [
        "va: 4 of 4 series have no value at their newest image (3 have one at an older one) and "
        "are left out."
    ]
    died = tasks.Task("{dead}", "survival", (), store.outcomes())
    assert (
        "2 of 4 series have no value at their newest image (1 has one at" in _gaps(store, died)[0]
    )
    fewer = store.only([1, 2])
    task = tasks.Task("va", "regression", (), value_N[[1, 2]])
    assert "2 of 2 series have no value at their newest image (1 has one" in _gaps(fewer, task)[0]


def test_of_a_series_in_one_row_no_other_visit_is_spoken(root):
    table = pd.read_csv(root / "visits.csv").drop_duplicates(["subject", "eye"])
    table.assign(va=["", 1, 2, 3]).to_csv(root / "visits.csv", index=False)
    mapped = {"data.columns.time": "", "data.columns.series": "", "data.frame_interval": 1.0}
    store = opening.open_cohort(settings(root, **mapped, **{"data.targets": ("va:regression",)}))
    task = tasks.Task("va", "regression", (), store.targets()[:, 0])
    assert _gaps(store, task) == ["va: 1 of 4 series have no value and are left out."]


RADIOGRAPHS = {  # patient -> days, in the order of the table
    "long": [*range(41, 59), 40, 0, -12, -12],
    "short": [31, -9, -9],  # a gap of 40 days
    "tie": [-1, -1],
}


def test_the_preset_of_radiographs_takes_ties_negative_days_long_gaps_and_22_visits(tmp_path):
    """The published table has all of them, the part of it that other tests read not all."""
    image = np.arange(tiny.SIZE**2, dtype=np.uint8).reshape(tiny.SIZE, -1)
    rows = []
    for patient, days in RADIOGRAPHS.items():
        for k, day in enumerate(days):
            rows.append(dict(patient_id=patient, image=f"{patient}{k}.png", day=day, sex="f"))
            Image.fromarray(image).save(tmp_path / rows[-1]["image"])
    pd.DataFrame(rows).to_csv(tmp_path / "images.csv", index=False)
    config = tvrl.get_config("hannover_cxr")
    config.data.update(root=str(tmp_path), store=str(tmp_path / "store"), image_size=tiny.SIZE)
    config.data.split_fractions = (1.0, 0.0, 0.0)
    store = opening.open_cohort(config.data)
    batches = train_batches(
        store, split="train", clips=config.clips, views=2, batch_size=3, seed=0, start_step=0,
        process_index=0, process_count=1, threads=1, workers=0,
    )  # fmt: skip
    batch = next(batches)
    batches.close()
    seen = {}
    for k, i in enumerate(batch["series_B"]):
        seen[store.series[i].subject] = batch["time_BVT"][k, 0][batch["valid_BVT"][k, 0]].tolist()
    newest = {
        patient: sorted(days)[-config.clips.frames :] for patient, days in RADIOGRAPHS.items()
    }
    assert len(RADIOGRAPHS["long"]) == 22 > config.clips.frames
    assert seen == {patient: [d - days[0] for d in days] for patient, days in newest.items()}


@pytest.mark.parametrize("method", [tvrl, ltn])
def test_a_method_that_needs_time_refuses_a_series_without_any(root, tmp_path, method):
    config = tiny.shrink(method.get_config(), root)
    config.data = settings(root)
    with pytest.raises(UserError, match=r'row 9: all 2 frames of series "c/OD" have the time 0'):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_equal_times_may_be_kept(root, tmp_path):
    config = tiny.shrink(tvrl.get_config(), root)
    config.data = settings(root, **{"data.on_equal_times": "keep"})
    config.update_from_flattened_dict({"train.steps": 1, "clips.sampling": "newest"})
    trainer.train(config, tmp_path / "run")
    (row,) = [json.loads(r) for r in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(row["loss"])
