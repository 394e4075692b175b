"""What an encoder knows that it should not: against loops, and where the answer is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.sights import BOOTSTRAP
from tvrl_jax.probing.temporal import measured, shortcuts


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
    # first and last frame: of three series, one is the only one of its patient
    for task, share in (("first and last frame", 5 / 9), ("another series", 1 / 3)):
        name = f"{shortcuts.IDENTITY}, {task}"
        top1, chance = (measured.find(blank, name, k) for k in ("top1", "top1_chance"))
        assert top1 == pytest.approx(chance) == pytest.approx(share)
    frame_FD = np.eye(4)[np.repeat(np.arange(4), frames_N)]
    known = shortcuts.identity(frame_FD, frames_N, np.eye(2)[subject_N], subject_N, **BOOTSTRAP)
    top1 = [m.interval for m in known if m.metric == "top1"]
    assert {one.value for one in top1} == {1.0}
    # Two of two patients found: Clopper and Pearson's; of three series, two are of one of them.
    for one, patients in zip(top1, (9 / 5, 2), strict=True):
        assert (one.low, one.high) == pytest.approx((0.025 ** (1 / patients), 1))


def test_another_eye_of_the_patient_is_the_patient():
    """Features that are the patient and nothing else retrieve it, whichever series is nearest."""
    subject_N = np.repeat(np.arange(50), 2)
    one_hot_ND = np.eye(50)[subject_N]
    frame_FD, frames_N = np.repeat(one_hot_ND, 3, 0), np.full(100, 3)
    made = shortcuts.identity(frame_FD, frames_N, one_hot_ND, subject_N, **BOOTSTRAP)
    for task, chance in (("first and last frame", 2 / 100), ("another series", 1 / 99)):
        name = f"{shortcuts.IDENTITY}, {task}"
        assert measured.find(made, name, "top1") == 1
        assert measured.find(made, name, "top1_chance") == pytest.approx(chance)


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


def test_numbers_with_a_cell_that_is_none_and_text_of_many_classes_are_named():
    """Every age would be a class of its own for the sake of one "?", and every note."""
    split = np.array(["train", "train", "val", "test"] * 60)
    age = [f"{20 + k / 4}" for k in range(240)]
    note = [f"patient of day {k % 51}" for k in range(240)]
    grade, site = np.arange(240) // 4 % 2, [f"site {k % 50}" for k in range(240)]
    table = pd.DataFrame({"age": age, "grade": grade.astype(str), "note": note, "site": site})
    store = _table_of(table, split)
    found, left = shortcuts.load(store, ("age", "grade", "site"), classes=5)
    assert [t.kind for t in found] == ["regression", "classification", "classification"]
    table.loc[7, ["age", "grade"]] = "?"
    found, left = shortcuts.load(store, ("age", "grade", "note"), classes=5)
    assert [(t.column, len(t.classes)) for t in found] == [("grade", 2)]  # few values are classes
    assert left[0].startswith('age: t.csv, row 7, column "age": "?" is not a number; leave the')
    assert left[-1] == (
        "note: its text is of 51 classes, more than 50: join some, or leave it out of "
        "temporal.columns."
    )
