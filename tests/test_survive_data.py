"""A series that cannot be read is named, left out once for all, and on every host alike."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import survival
import tiny

from configs import tvrl
from tvrl_jax import roster
from tvrl_jax.data import bundle, opening
from tvrl_jax.data.store import Unreadable
from tvrl_jax.errors import UserError
from tvrl_jax.peers import Alone

SKIP = {"data.on_bad": "skip", "data.threads": 1}
pytestmark = pytest.mark.timeout(3000)  # a machine may be busy; every wait has its own end


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "cohort"
    tiny.write_cohort(folder)
    return folder


def _store(root, on_bad="skip"):
    config = tiny.shrink(tvrl.get_config(), root)
    config.data.on_bad = on_bad
    return opening.open_cohort(config.data)


def _begun(folder: Path, store) -> Path:
    """A run that has a checkpoint."""
    folder.mkdir()
    roster.write(folder, store)
    (folder / "checkpoints" / "3").mkdir(parents=True)
    return folder


def _held(folder: Path, store, **how):
    return roster.hold(folder, store, roster.read(folder), **how)


def _ids(store):
    return [info.id for info in store.series]


@pytest.mark.parametrize("damage", ["cut", "emptied", "gone"])
def test_a_file_that_is_damaged_while_it_is_mapped_is_named(root, damage):
    store = _store(root)
    path = Path(store.places[5].path)
    store.frames(5, [0])
    if damage == "gone":  # what is mapped stays readable; what is not, is not
        path.unlink()
        assert store.frames(5, [0]).shape == (1, tiny.SIZE, tiny.SIZE, 1)
        store = _store_without_packing(store)
    else:
        os.truncate(path, path.stat().st_size // 2 if damage == "cut" else 0)
    with pytest.raises(Unreadable, match=r's05/s05.npy", has gone or changed'):
        store.frames(5, [0])
    np.testing.assert_array_equal(_store(root).frames(4, [1]), store.frames(4, [1]))


def _store_without_packing(store):
    return store.only(range(len(store.series)))


def test_a_run_keeps_the_list_that_it_began_with(root, tmp_path):
    whole = _store(root)
    folder = _begun(tmp_path / "run", whole)
    assert _ids(_held(folder, whole, may_shrink=False)) == _ids(whole)
    content = (root / "s01.npy").read_bytes()
    (root / "s01.npy").unlink()
    less = _store(root)
    with pytest.raises(UserError, match=r's01/s01.npy" that the run .* is no longer there'):
        _held(folder, less, may_shrink=False)
    held = _held(folder, less, may_shrink=True)
    assert _ids(held) == [name for name in _ids(whole) if name != "s01/s01.npy"]
    roster.write(folder, held)
    # It is back, but the run goes on without it, and still tells why.
    (root / "s01.npy").write_bytes(content)
    again = _held(folder, _store(root), may_shrink=False)
    roster.write(folder, again)
    assert _ids(again) == _ids(held) and len(_store(root).series) == len(whole.series)
    np.testing.assert_array_equal(again.frames(1, [2]), whole.frames(2, [2]))
    assert (again.targets()[1] == whole.targets()[2]).all()
    ((row, path, reason),) = json.loads((folder / roster.FILE).read_text())["skipped"]
    assert row == 3 and path.endswith("s01.npy") and "does not exist" in reason
    trained = {info.subject for info in whole.series if info.split == "train"}
    assert roster.learnt(folder).patients == trained and "s01" in trained  # it was learned from


def test_rows_that_are_added_wait_for_another_run(root, tmp_path):
    whole = _store(root)
    folder = _begun(tmp_path / "run", whole)
    np.save(root / "new.npy", np.load(root / "s00.npy")[::-1].copy())
    with (root / "cohort.csv").open("a") as table:
        table.write("new,new.npy,train,1,1,0\n")
    more = _store(root)
    assert len(more.series) == len(whole.series) + 1
    assert _ids(_held(folder, more, may_shrink=False)) == _ids(whole)
    shutil.rmtree(folder / "checkpoints")  # a run that is not begun has no list
    assert _ids(_held(folder, more, may_shrink=False)) == _ids(more)


def test_a_table_that_is_sorted_otherwise_keeps_the_order_of_the_data(root, tmp_path):
    whole = _store(root)
    folder = _begun(tmp_path / "run", whole)
    head, *rows = (root / "cohort.csv").read_text().splitlines()
    (root / "cohort.csv").write_text("\n".join([head, *rows[::-1]]) + "\n")
    other = _store(root)
    assert _ids(other) == _ids(whole)[::-1]
    held = _held(folder, other, may_shrink=False)
    assert _ids(held) == _ids(whole)
    np.testing.assert_array_equal(held.targets(), whole.targets())
    np.testing.assert_array_equal(held.subject_index, whole.subject_index)
    np.testing.assert_array_equal(held.frames(3, [1]), whole.frames(3, [1]))


def test_a_patient_more_draws_another_split_and_the_run_says_so(root, tmp_path):
    """Of 24 to 40 patients: for some number the boundary of the training split moves."""

    def seeded():
        config = tiny.shrink(tvrl.get_config(), root)
        config.data.columns.split = ""
        return opening.open_cohort(config.data)

    folder = _begun(tmp_path / "run", seeded())
    for number in range(16):
        np.save(root / f"new{number}.npy", np.load(root / "s00.npy"))
        with (root / "cohort.csv").open("a") as table:
            table.write(f"new{number},new{number}.npy,train,1,1,0\n")
    with pytest.raises(UserError, match="one more or less draws another: restore the table"):
        _held(folder, seeded(), may_shrink=False)


@pytest.mark.parametrize(
    ("patient", "words"),
    [
        ("s01", "in the test split now.* learned from"),
        ("s03", "in the train split now.* has not learned"),
    ],
)
def test_a_patient_of_another_split_than_before_stops_the_run(root, tmp_path, patient, words):
    folder = _begun(tmp_path / "run", _store(root))
    table, row = (root / "cohort.csv").read_text(), f"{patient},{patient}.npy,"
    for old, new in (("train", "test"), ("test", "train")):
        if row + old in table:
            (root / "cohort.csv").write_text(table.replace(row + old, row + new))
    with pytest.raises(UserError, match=f'patient "{patient}" .*{words}'):
        _held(folder, _store(root), may_shrink=True)
    held = _held(folder, _store(root), may_shrink=True, may_move=True)
    roster.write(folder, held)
    assert {"s00", "s01"} <= roster.learnt(folder).patients and len(held.series) == 24


def test_a_series_of_another_length_is_another_series(root, tmp_path):
    folder = _begun(tmp_path / "run", _store(root))
    np.save(root / "s04.npy", np.load(root / "s04.npy")[:7])
    with pytest.raises(UserError, match="s04.npy.* has another number of frames"):
        _held(folder, _store(root), may_shrink=False)


def test_images_that_were_exchanged_are_told(root, tmp_path, caplog, monkeypatch):
    folder = _begun(tmp_path / "run", _store(root))
    _held(folder, _store(root), may_shrink=False)
    assert not caplog.records
    np.save(root / "s04.npy", np.load(root / "s04.npy")[::-1].copy())
    held = _held(folder, _store(root), may_shrink=False)
    assert 'images or times of 1 series, such as "s04/s04.npy", are not those' in caplog.text
    caplog.clear()
    # The same images, decoded by another rule, have other hashes: then nothing can be told.
    with monkeypatch.context() as later:
        later.setattr(bundle, "VERSION", bundle.VERSION + 1)
        _held(folder, _store(root), may_shrink=False)
        assert not caplog.records and not roster.learnt(folder).frames
    roster.write(folder, held)
    _held(folder, _store(root), may_shrink=False)
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    ["", "[1]", "{}", "null", '{"series": 3, "skipped": []}', "[" * 10_000, "\udcff",
     '{"series": [["a", "b"]], "skipped": []}', '{"series": [], "skipped": [[1, "x"]]}',
     '{"series": [], "skipped": [[null, "x", "y"]]}',
     '{"series": [], "skipped": [], "content": {"a": 1}}',
     '{"series": [], "skipped": [], "content": [1]}'],
)  # fmt: skip
def test_a_list_that_was_damaged_is_named(root, tmp_path, content):
    store = _store(root)
    folder = _begun(tmp_path / "run", store)
    (folder / roster.FILE).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="is not the list of series that a run wrote"):
        _held(folder, store, may_shrink=True)


class _Beside(Alone):
    """One of two processes. The other one says `other`, or what this one says."""

    count = 2

    def __init__(self, other=None):
        self.other = other

    def agree(self, value, combine=lambda values: None):
        self.said = value
        return combine([value, value if self.other is None else self.other])


def test_processes_that_see_other_series_do_not_begin(root, tmp_path):
    whole, alike = _store(root), _Beside()
    less = whole.only(range(1, len(whole.series)))
    assert _held(tmp_path / "run", less, may_shrink=True, peers=alike) is less
    with pytest.raises(UserError, match="processes of this run do not see the same series"):
        _held(tmp_path / "run", whole, may_shrink=True, peers=_Beside(alike.said))


@pytest.mark.parametrize("other", ["labels", "classes", "patients", "times", "images"])
def test_processes_that_read_another_table_or_other_images_do_not_begin(root, tmp_path, other):
    _store(root)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(root, elsewhere, ignore=shutil.ignore_patterns("store"))
    table = pd.read_csv(elsewhere / "cohort.csv", dtype=str)
    if other == "labels":
        table.loc[0, "radius"] = "9.5"
    elif other == "classes":  # the same codes, of other names
        table["large"] = table["large"].map({"0": "no", "1": "yes"})
    elif other == "patients":
        table.loc[table.subject == "s05", "subject"] = "s01"
    elif other == "images":
        np.save(elsewhere / "s05.npy", 255 - np.load(elsewhere / "s05.npy"))
    table.to_csv(elsewhere / "cohort.csv", index=False)
    alike = _Beside()
    _held(tmp_path / "run", _store(root), may_shrink=False, peers=alike)
    theirs = _store(elsewhere)
    if other == "times":
        series = [info._replace(time_T=2 * info.time_T) for info in theirs.series]
        theirs.series = series
    with pytest.raises(UserError, match="reads another table or other images"):
        _held(tmp_path / "run", theirs, may_shrink=False, peers=_Beside(alike.said))


def test_a_run_that_came_meanwhile_is_noticed(root, tmp_path):
    """Between the reading of the list and the lock of the folder."""
    store, folder = _store(root), tmp_path / "run"
    began = roster.read(folder)
    roster.refuse_other(folder, began)
    _begun(folder, store)
    with pytest.raises(UserError, match="another run has been at work there"):
        roster.refuse_other(folder, began)
    roster.refuse_other(folder, roster.read(folder))


def _damage_while_it_runs(server, root, folder, damage, **changes):
    """Stops a run in its midst, does `damage`, and lets it go on to its end."""
    child = survival.start(server, root, folder, **{**SKIP, **changes})
    end = time.monotonic() + 900
    while not (folder / "checkpoints" / "8").exists() and child.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGSTOP)
    damage()
    os.kill(child.pid, signal.SIGCONT)
    return child.wait(), child.said()


def test_a_store_that_is_damaged_in_training(server, root, tmp_path):
    whole = tmp_path / "whole"
    assert survival.run(server, root, whole, **SKIP)[0] == 0
    path = Path(_store(root).places[1].path)
    cut = lambda: os.truncate(path, 100)  # noqa: E731
    stop = {"data.on_bad": "stop"}
    code, said = _damage_while_it_runs(server, root, tmp_path / "stop", cut, **stop)
    assert code == 2 and 's01/s01.npy", has gone' in said and "Traceback" not in said, said
    # Its image is there still: it is packed anew, and nothing has changed.
    code, said = _damage_while_it_runs(server, root, tmp_path / "again", cut)
    assert code == 0 and "has gone or changed" in said, said
    survival.assert_same_run(whole, tmp_path / "again")

    # Its image is gone, too: the run goes on without, and says so.
    def lose():
        shutil.copy(tmp_path / "less" / roster.FILE, tmp_path)
        cut(), (root / "s01.npy").unlink()

    many = {"train.keep": 99}
    code, said = _damage_while_it_runs(server, root, tmp_path / "less", lose, **many)
    assert code == 0 and 'series "s01/s01.npy" is left out from now on' in said, said
    ((row, *_),) = json.loads((tmp_path / "less" / roster.FILE).read_text())["skipped"]
    assert row == 3
    # A run that was killed at that moment and is started again leaves out the same, from the same
    # step on, and ends the same.
    since = int(re.findall(r"continuing from the checkpoint of step (\d+)", said)[-1])
    copy = Path(shutil.copytree(tmp_path / "less", tmp_path / "copy"))
    shutil.copy(tmp_path / roster.FILE, copy)
    for step in survival.kept(copy):
        if step > since:
            shutil.rmtree(copy / "checkpoints" / str(step))
    code, said = survival.run(server, root, copy, **SKIP, **many)
    assert code == 0 and f"continuing from the checkpoint of step {since}" in said, said
    assert survival.rows(copy) == survival.rows(tmp_path / "less")
    assert survival.rows(copy) != survival.rows(whole)
    survival.assert_same_state(copy, tmp_path / "less")
