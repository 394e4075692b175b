"""The store: what is packed, when it is packed again, and that it survives interruption."""

import errno
import glob
import hashlib
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest

from configs import base
from tvrl_jax.data import bundle, ledger, packed, readers, store
from tvrl_jax.data.pack import open_store
from tvrl_jax.errors import UserError

SIZE = 16
RNG = np.random.default_rng(0)


@pytest.fixture
def data(tmp_path):
    """config.data of three subjects with a 6-frame cine each."""
    return make_cohort(tmp_path)


def make_cohort(folder: Path, subjects: int = 3):
    lines = ["subject,path,kind,score,split"]
    for k in range(subjects):
        np.save(folder / f"{k}.npy", RNG.integers(0, 5000, (6, SIZE, SIZE), dtype=np.uint16))
        lines.append(f"s{k},{k}.npy,{'ab'[k % 2]},{k}.5,{('train', 'train', 'val')[k % 3]}")
    (folder / "table.csv").write_text("\n".join(lines))
    config = base.get_config().data
    config.root, config.csv, config.store = str(folder), "table.csv", str(folder / "store")
    config.image_size, config.frame_interval, config.threads = SIZE, 0.1, 2
    config.columns.split = "split"
    return config


def decoded(monkeypatch) -> list[str]:
    """The files that are decoded from now on."""
    seen, original = [], readers.read

    def read(path, **arguments):
        seen.append(os.path.basename(path))
        return original(path, **arguments)

    monkeypatch.setattr(bundle.readers, "read", read)
    return seen


def refused(data, *words):
    with pytest.raises(UserError) as error:
        open_store(**data)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_frames_are_the_scaled_pixels(data):
    store = open_store(**data)
    array = np.load(Path(data.root) / "1.npy").astype(float)
    low, high = np.percentile(array, data.percentiles)
    expected = np.clip(np.rint((array - low) * 255 / (high - low)), 0, 255)
    frames = store.frames(1, np.array([5, 0, 3]))
    assert frames.dtype == np.uint8 and frames.shape == (3, SIZE, SIZE, 1)
    assert np.abs(frames[..., 0] - expected[[5, 0, 3]]).max() <= 1
    with pytest.raises(IndexError):
        store.frames(1, np.array([6]))


def test_what_a_store_says(data):
    data.targets = ("kind:classification", "score:regression")
    store = open_store(**data)
    info = store.series[2]
    assert (info.id, info.subject, info.split, info.row) == ("s2/2.npy", "s2", "val", 4)
    assert info.frames == 6 and info.slice is None
    np.testing.assert_allclose(info.time_T, 0.1 * np.arange(6))
    assert info.time_T.dtype == np.float64
    assert store.subjects == ("s0", "s1", "s2") and store.subject_index.tolist() == [0, 1, 2]
    assert store.split("train").tolist() == [0, 1] and store.split("test").tolist() == []
    target = store.targets()
    assert target.dtype == np.float32 and target.tolist() == [[0, 0.5], [1, 1.5], [0, 2.5]]
    assert store.class_counts() == (2, 0)


def test_outcomes_of_a_store(data):
    (Path(data.root) / "table.csv").write_text(
        "subject,path,dead,after\ns0,0.npy,1,30\ns1,1.npy,0,90.5\ns2,2.npy,,\n"
    )
    data.columns.split = ""
    assert open_store(**data).outcomes() is None
    data.columns.event, data.columns.duration = "dead", "after"
    pair = open_store(**data).outcomes()
    assert pair[:2].tolist() == [[1, 30], [0, 90.5]] and np.isnan(pair[2]).all()


def test_second_opening_decodes_nothing(data, monkeypatch):
    open_store(**data)
    seen = decoded(monkeypatch)
    store = open_store(**data)
    assert seen == [] and len(store.series) == 3
    data.time_unit = "frames"  # times are no part of what is packed
    assert open_store(**data).series[0].time_T.tolist() == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    )
    assert seen == []


def test_changed_file_and_changed_settings_are_packed_again(data, monkeypatch):
    before = open_store(**data).frames(0, [0])
    seen = decoded(monkeypatch)
    np.save(Path(data.root) / "0.npy", RNG.integers(0, 99, (6, SIZE, SIZE), dtype=np.uint16))
    store = open_store(**data)
    assert seen == ["0.npy"] and (store.frames(0, [0]) != before).any()
    for key, value in dict(percentiles=(0, 100), image_size=8, channels=3, fit="crop").items():
        seen.clear()
        data[key] = value
        assert open_store(**data).frames(0, [0]).shape[1:] == (data.image_size,) * 2 + (
            data.channels,
        )
        assert sorted(seen) == ["0.npy", "1.npy", "2.npy"]


@pytest.mark.parametrize("when", ["before", "after"])  # then pixels are mapped yet
def test_a_file_that_is_exchanged_while_it_is_read_is_not_stored_as_what_it_was(
    data, monkeypatch, when
):
    path, table = Path(data.root) / "1.nii", Path(data.root) / "table.csv"
    volumes = RNG.integers(0, 5000, (2, SIZE, SIZE, 1, 6), dtype=np.int16)
    old, new = (nibabel.Nifti1Image(volume, np.eye(4)).to_bytes() for volume in volumes)
    path.write_bytes(old)
    table.write_text(table.read_text().replace("1.npy", "1.nii"))
    original = readers.read

    def read(name, **arguments):
        if name.endswith(".nii") and when == "before":
            path.write_bytes(new)
        images = original(name, **arguments)
        if name.endswith(".nii") and when == "after":
            path.write_bytes(new)
        return images

    with monkeypatch.context() as patched:
        patched.setattr(bundle.readers, "read", read)
        refused(data, "table.csv, row 3", "1.nii was changed while it was read")
        path.write_bytes(old)
        data.on_bad = "skip"
        (skipped,) = open_store(**data).skipped
        assert skipped.row == 3 and "was changed while it was read" in skipped.reason
    stored = [open_store(**data).frames(1, np.arange(6))]
    path.write_bytes(old)
    stored.append(open_store(**data).frames(1, np.arange(6)))
    for frame_THWC, volume in zip(stored, volumes[::-1], strict=True):
        pixel_THW = np.moveaxis(volume[:, :, 0], -1, 0).transpose(0, 2, 1)
        low, high = np.percentile(pixel_THW, data.percentiles)
        expected = np.clip(np.rint((pixel_THW - low) * 255 / (high - low)), 0, 255)
        assert abs(frame_THWC[..., 0] - expected).max() <= 1


def test_a_moved_cohort_is_not_decoded_again(data, monkeypatch):
    open_store(**data)
    (Path(data.root) / "moved").mkdir()
    for name in ("0.npy", "1.npy", "2.npy", "table.csv"):
        os.rename(Path(data.root) / name, Path(data.root) / "moved" / name)
    seen = decoded(monkeypatch)
    data.root = str(Path(data.root) / "moved")
    assert len(open_store(**data).series) == 3 and seen == []


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "empty"])
def test_damaged_store_file_is_noticed_and_packed_again(data, monkeypatch, damage):
    before = open_store(**data).frames(0, np.arange(6))
    path = Path(open_store(**data).places[0].path)
    content = bytearray(path.read_bytes())
    at = {"flip": -100, "header": 20}.get(damage)
    if at:
        content[at] ^= 1
    time.sleep(0.02)
    path.write_bytes({"cut": content[:-10], "empty": b""}.get(damage, content))
    seen = decoded(monkeypatch)
    store = open_store(**data)
    assert seen == ["0.npy"]
    np.testing.assert_array_equal(store.frames(0, np.arange(6)), before)


def test_what_a_disk_turned_over_is_noticed_when_nothing_is_known(data, monkeypatch):
    """No time tells of it: checksums are read again once the folder `known` is gone."""
    before = open_store(**data).frames(0, np.arange(6))
    path = Path(open_store(**data).places[0].path)
    seen = {path: ledger.signature(str(path))}
    original = ledger.signature
    monkeypatch.setattr(ledger, "signature", lambda name: seen.get(Path(name)) or original(name))
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert (open_store(**data).frames(0, np.arange(6)) != before).any()
    shutil.rmtree(Path(data.store) / "known")
    np.testing.assert_array_equal(open_store(**data).frames(0, np.arange(6)), before)


@pytest.mark.parametrize("at", ["signature", "recall"])
def test_a_store_that_is_removed_while_it_is_looked_at_is_packed_again(data, monkeypatch, at):
    before = open_store(**data).frames(0, np.arange(6))
    removed, original = [], getattr(ledger, at)

    def remove(*arguments):
        path = arguments[0] if at == "signature" else arguments[1]
        if path.endswith(".frames") and path not in removed:
            removed.append(path)
            os.remove(path)
        return original(*arguments) if at == "signature" else None

    with monkeypatch.context() as patched:
        patched.setattr(ledger, at, remove)
        open_store(**data)
    assert len(removed) == 3
    np.testing.assert_array_equal(open_store(**data).frames(0, np.arange(6)), before)


def test_a_store_that_is_removed_as_soon_as_it_is_written_is_one_sentence(data, monkeypatch):
    original = packed.write

    def write(path, series):
        original(path, series)
        os.remove(path)

    monkeypatch.setattr(packed, "write", write)
    refused(data, ".frames was removed as soon as it was written", "data.store")


def test_interrupted_packing_goes_on_where_it_stopped(tmp_path, monkeypatch):
    data = make_cohort(tmp_path, subjects=12)
    program = (
        "import sys, time, json\n"
        "from tvrl_jax.data import bundle, readers\n"
        "from tvrl_jax.data.pack import open_store\n"
        "original = readers.read\n"
        "def slow(path, **a):\n"
        "    time.sleep(0.1)\n"
        "    return original(path, **a)\n"
        "bundle.readers.read = slow\n"
        "open_store(**json.loads(sys.argv[1]))\n"
    )
    data.threads = 1
    child = subprocess.Popen([sys.executable, "-c", program, data.to_json()])
    pattern = str(tmp_path / "store" / "*" / "*.frames")
    deadline = time.time() + 60
    while len(glob.glob(pattern)) < 3 and time.time() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = len(glob.glob(pattern))
    assert 3 <= done < 12
    seen = decoded(monkeypatch)
    assert len(open_store(**data).series) == 12
    assert len(seen) == 12 - done


def test_two_at_once_and_threads_agree(tmp_path):
    data = make_cohort(tmp_path, subjects=8)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: open_store(**data), range(2))
    index = RNG.integers(0, 6, (200, 4))
    series = RNG.integers(0, 8, 200)
    whole = [first.frames(i, np.arange(6)) for i in range(8)]
    errors = []

    def check(rows):
        for i, chosen in rows:
            if not np.array_equal(second.frames(i, chosen), whole[i][chosen]):
                errors.append(i)

    pairs = list(zip(series, index, strict=True))
    threads = [threading.Thread(target=check, args=(pairs,)) for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert errors == []


def test_leavings_of_a_killed_writer_are_swept_after_a_day(data):
    open_store(**data)
    folder = Path(open_store(**data).places[0].path).parent
    old, new = folder / ".old.part", folder / ".new.part"
    old.touch(), new.touch()
    os.utime(old, (1, 1))
    open_store(**data)
    assert new.exists() and not old.exists()


def test_a_store_can_be_sent_to_another_process(data):
    store = open_store(**data)
    store.frames(0, [0])
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.frames(2, [1, 3]), store.frames(2, [1, 3]))


def test_bad_files_stop_or_are_listed(data):
    root = Path(data.root)
    (root / "1.npy").write_bytes(b"nothing")
    refused(data, "table.csv, row 3", "1.npy", "cannot be read")
    data.on_bad = "skip"
    store = open_store(**data)
    assert [s.subject for s in store.series] == ["s0", "s2"]
    (skipped,) = store.skipped
    assert (
        skipped.row == 3 and skipped.path.endswith("1.npy") and "cannot be read" in skipped.reason
    )
    for k in (0, 2):
        (root / f"{k}.npy").write_bytes(b"nothing")
    refused(data, "all rows were skipped", "0.npy")


def test_a_bad_visit_leaves_the_others(tmp_path, monkeypatch):
    data = dated(tmp_path, [(SIZE, SIZE)] * 3)
    (tmp_path / "v1.npy").write_bytes(b"")
    refused(data, "row 3", "v1.npy")
    data.on_bad = "skip"
    store = open_store(**data)
    assert store.series[0].time_T.tolist() == [0, 2] and store.skipped[0].row == 3
    seen = decoded(monkeypatch)
    assert open_store(**data).series[0].frames == 2 and set(seen) <= {"v0.npy", "v1.npy", "v2.npy"}


@pytest.mark.parametrize("damage", ["damaged", "absent"])
@pytest.mark.parametrize(("unit", "interval"), [("s", 0.5), ("frames", 0.0)])
def test_a_bad_frame_leaves_the_times_of_the_others(tmp_path, damage, unit, interval):
    """Frames of one cine in a file each, at a stated interval: the one in the middle is missing."""
    data = dated(tmp_path, [(SIZE, SIZE)] * 4)
    table = tmp_path / "table.csv"
    lines = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join([lines[0] + ",cine", *(line + ",a" for line in lines[1:])]))
    data.columns.time, data.columns.series, data.time_unit = "", "cine", unit
    data.frame_interval, data.on_bad = interval, "skip"
    whole = open_store(**data).series[0].time_T
    bad = tmp_path / "v1.npy"
    bad.unlink() if damage == "absent" else bad.write_bytes(b"")
    np.testing.assert_array_equal(open_store(**data).series[0].time_T, np.delete(whole, 1))


def dated(folder: Path, shapes):
    """One subject with a visit per shape, on days 0, 1, 2, ..."""
    data = make_cohort(folder, 1)
    lines = ["subject,path,day"]
    for k, shape in enumerate(shapes):
        np.save(folder / f"v{k}.npy", RNG.integers(0, 99, shape, dtype=np.uint8))
        lines.append(f"s,v{k}.npy,{k}")
    (folder / "table.csv").write_text("\n".join(lines))
    data.columns.split, data.columns.time, data.time_unit = "", "day", "days"
    return data


def test_visits_of_different_size_are_one_series(tmp_path):
    data = dated(tmp_path, [(SIZE, SIZE), (40, 9), (SIZE, SIZE)])
    data.percentiles = (0.0, 100.0)
    store = open_store(**data)
    assert store.series[0].frames == 3 and not store.skipped
    arrays = [np.load(tmp_path / f"v{k}.npy").astype(float) for k in range(3)]
    low, high = (pick([pick(array) for array in arrays]) for pick in (np.min, np.max))
    frames = store.frames(0, np.arange(3))[..., 0]
    for k in (0, 2):
        np.testing.assert_array_equal(frames[k], np.rint((arrays[k] - low) * 255 / (high - low)))
    assert frames[1, :, 6:10].any() and not frames[1, :, :6].any()  # 40 x 9 is padded at its sides


def test_a_visit_that_does_not_fit_is_named_and_leaves_the_others(tmp_path):
    data = dated(tmp_path, [(SIZE, SIZE)] * 3)
    for k, size in enumerate((SIZE, 2 * SIZE, SIZE)):
        cine = RNG.integers(0, 99, (1, size, size), dtype=np.uint8)
        np.savez(tmp_path / f"v{k}.npz", cine=cine, spacing_mm=[1.0, 1.0])
    table = tmp_path / "table.csv"
    table.write_text(table.read_text().replace(".npy", ".npz"))
    data.pixel_mm = 1.0
    refused(data, "row 3", "v1.npz: at 1 mm a pixel its frames are 32 x 32", "do not fit")
    data.on_bad = "skip"
    store = open_store(**data)
    assert store.series[0].time_T.tolist() == [0, 2]
    assert [skipped.row for skipped in store.skipped] == [3]


def test_volumes_of_unequal_numbers_of_slices_are_still_refused(tmp_path):
    data = dated(tmp_path, [(2, 1, SIZE, SIZE), (3, 1, SIZE, SIZE)])
    refused(data, "row 3", "v1.npy has 3 slices", "v0.npy (row 2) 2", "data.columns.slice")


@pytest.mark.parametrize("value", [0, 7, 5000])
def test_blank_series_are_counted(data, value, capsys):
    root = Path(data.root)
    assert open_store(**data).notes == ()
    for k in (1, 2):
        np.save(root / f"{k}.npy", np.full((6, SIZE, 2 * SIZE), value, np.uint16))
    store = open_store(**data)
    words = "a blank image: every pixel is stored as 0"
    assert store.notes == (f"{words} (2 series, the first in row 3)",)
    assert words in capsys.readouterr().err
    assert open_store(**data).notes == store.notes  # though nothing is decoded again


def test_the_notes_of_all_visits_are_told(tmp_path):
    data = dated(tmp_path, [(SIZE, SIZE)] * 2)
    pages = np.zeros((1, SIZE, SIZE), np.uint8)
    np.savez(tmp_path / "late.npz", cine=pages + np.arange(SIZE, dtype=np.uint8), time=[3.0])
    table = tmp_path / "table.csv"
    table.write_text(table.read_text().replace("v1.npy", "late.npz"))
    (note,) = open_store(**data).notes
    assert "`time` states no unit, as `time_s` does" in note and "1 series" in note


@pytest.mark.parametrize(("factor", "told"), [(1, 0), (2, 0), (16, 1), (257, 1)])
def test_a_visit_of_another_scale_is_told(tmp_path, factor, told):
    """Such as 8 bits after years of 12 or 16: on the scale of the series it is black."""
    data = dated(tmp_path, [(SIZE, SIZE)] * 2)
    first = RNG.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    np.save(tmp_path / "v0.npy", first)
    np.save(tmp_path / "v1.npy", first.astype(np.uint16) * factor)
    notes = open_store(**data).notes
    assert len(notes) == told and all("nearly blank beside the others" in n for n in notes)


def test_a_cine_among_visits_is_named_by_its_row_and_leaves_the_others(tmp_path):
    data = dated(tmp_path, [(SIZE, SIZE), (4, SIZE, SIZE), (1, SIZE, SIZE)])
    refused(data, "row 3", "v1.npy holds 4 frames", "one frame each")
    data.on_bad = "skip"
    store = open_store(**data)
    assert store.series[0].time_T.tolist() == [0, 2] and [s.row for s in store.skipped] == [3]


def test_a_cine_in_a_dated_row_and_missing_times_are_refused(tmp_path):
    refused(dated(tmp_path, [(4, SIZE, SIZE)]), "row 2", "v0.npy", "one frame each")
    data = make_cohort(tmp_path, 1)
    data.frame_interval = 0.0
    refused(data, "row 2", "0.npy", "6 frames and no times", "data.frame_interval")


def test_slices_of_a_volume_are_series_of_their_own(tmp_path, monkeypatch):
    data = make_cohort(tmp_path, 1)
    volume = RNG.integers(0, 999, (SIZE, SIZE, 3, 4), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), str(tmp_path / "v.nii.gz"))
    data.columns.split = ""
    (tmp_path / "table.csv").write_text("subject,path\n1,v.nii.gz\n")
    store = open_store(**data)
    assert [s.slice for s in store.series] == [0, 1, 2]
    assert [s.id for s in store.series] == [f"1/v.nii.gz/slice{k}" for k in range(3)]
    seen = decoded(monkeypatch)
    table = "subject,path,k,t\n1,v.nii.gz,2,0 1 2 3\n1,v.nii.gz,0,5 6 7 8\n"
    (tmp_path / "table.csv").write_text(table)
    data.columns.slice, data.columns.times = "k", "t"
    again = open_store(**data)
    assert seen == ["v.nii.gz"]  # once for both slices
    assert [s.slice for s in again.series] == [2, 0]
    assert again.series[1].time_T.tolist() == [5, 6, 7, 8]
    np.testing.assert_array_equal(again.frames(1, [3]), store.frames(0, [3]))
    (tmp_path / "table.csv").write_text("subject,path,k,t\n1,v.nii.gz,9,0 1 2 3\n")
    refused(data, "row 2", "no slice 9")
    (tmp_path / "table.csv").write_text("subject,path,k,t\n1,v.nii.gz,1,0 1 2\n")
    refused(data, "row 2", "3 times", "4 frames")


def test_a_slice_that_is_not_there_is_named_by_its_row_and_leaves_the_others(tmp_path):
    data = make_cohort(tmp_path, subjects=0)
    np.save(tmp_path / "v.npy", RNG.integers(0, 99, (3, 6, SIZE, SIZE), dtype=np.uint8))
    (tmp_path / "table.csv").write_text("subject,path,k\n1,v.npy,0\n1,v.npy,9\n1,v.npy,2\n")
    data.columns.split, data.columns.slice = "", "k"
    refused(data, "row 3", "v.npy has 3 slices and no slice 9")
    data.on_bad = "skip"
    store = open_store(**data)
    assert [(s.slice, s.row) for s in store.series] == [(0, 2), (2, 4)]
    assert [(s.row, "no slice 9" in s.reason) for s in store.skipped] == [(3, True)]


def test_a_slice_that_is_not_there_costs_no_reading_of_every_other(tmp_path, monkeypatch):
    data = make_cohort(tmp_path, subjects=0)
    np.save(tmp_path / "v.npy", RNG.integers(0, 99, (9, 2, SIZE, SIZE), dtype=np.uint8))
    rows = "".join(f"1,v.npy,{k}\n" for k in range(10))
    (tmp_path / "table.csv").write_text(f"subject,path,k\n{rows}")
    data.columns.split, data.columns.slice, data.on_bad = "", "k", "skip"
    seen = decoded(monkeypatch)
    assert len(open_store(**data).series) == 9 and len(seen) <= 4


def test_a_slice_that_one_visit_lacks_leaves_its_other_visits_and_slices(tmp_path):
    data = make_cohort(tmp_path, subjects=0)
    lines = ["subject,path,k,day"]
    for v, slices in enumerate((3, 2)):
        np.save(tmp_path / f"{v}.npy", RNG.integers(0, 99, (slices, 1, SIZE, SIZE), np.uint8))
        lines += [f"1,{v}.npy,{k},{v}" for k in (0, 2)]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    data.columns.split, data.columns.slice, data.columns.time = "", "k", "day"
    refused(data, "row 5", "1.npy has 2 slices and no slice 2")
    data.on_bad = "skip"
    store = open_store(**data)
    assert [(s.slice, s.time_T.tolist()) for s in store.series] == [(0, [0.0, 1.0]), (2, [0.0])]
    assert [s.row for s in store.skipped] == [5]


def test_an_unwritable_store_is_one_sentence(data, tmp_path):
    (tmp_path / "file").write_text("")
    data.store = str(tmp_path / "file" / "store")
    refused(data, "data.store")


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_a_full_disk_is_no_fault_of_the_images(data, monkeypatch, on_bad):
    """Left out, they would stay out when there is room again."""
    original = packed.whole_file.writing

    def writing(path, **how):
        if path.endswith(".frames") and len(list(Path(data.store).glob("*/*.frames"))) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, **how)

    data.on_bad, data.threads = on_bad, 1
    with monkeypatch.context() as patched:
        patched.setattr(packed.whole_file, "writing", writing)
        refused(data, "cannot write", "No space left", "data.store")
    assert not open_store(**data).skipped


@pytest.mark.parametrize(
    ("allowed", "mapped"), [(256, 64), (1024, 256), (2**20, 256), (resource.RLIM_INFINITY, 256)]
)
def test_a_store_maps_no_more_files_than_a_process_may_open(data, monkeypatch, allowed, mapped):
    monkeypatch.setattr(store.resource, "getrlimit", lambda _: (allowed, allowed))
    assert open_store(**data)._frames.cache_info().maxsize == mapped


def test_a_file_that_cannot_be_opened_just_now_has_not_gone(data, monkeypatch):
    opened = open_store(**data)

    def view(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(packed, "view", view)
    with pytest.raises(store.Unreadable, match=r"just now \(Too many open files\)"):
        opened.frames(0, [0])


def test_a_file_changed_within_the_clocks_tick_is_never_trusted(tmp_path):
    path, book = tmp_path / "a", {}
    path.write_text("one")
    first = ledger.content_hash(str(path), book)
    assert book == {}
    os.utime(path, (1, 1))
    assert ledger.content_hash(str(path), book) == first and len(book) == 1
    path.write_text("two")
    assert ledger.content_hash(str(path), book) != first


def test_a_file_that_is_exchanged_in_place_under_its_old_time_is_hashed_again(tmp_path):
    path, book = tmp_path / "a", {}
    path.write_text("one")
    os.utime(path, (1, 1))
    first = ledger.content_hash(str(path), book)
    time.sleep(0.02)  # longer than the tick of a file system's clock
    path.write_text("two")
    os.utime(path, (1, 1))
    assert ledger.content_hash(str(path), book) != first
    os.link(path, tmp_path / "b")
    assert ledger.content_hash(str(path), book) == ledger.content_hash(str(tmp_path / "b"), {})


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", '{"/a": 3}', '{"/a": [1]}'])
def test_a_damaged_ledger_knows_nothing(tmp_path, text):
    (tmp_path / "book").write_text(text)
    assert ledger.load(str(tmp_path / "book")) == {}


def test_header_of_a_packed_file_survives_a_round_trip(tmp_path):
    path = str(tmp_path / "x" / "a.frames")
    frames = RNG.integers(0, 255, (2, 4, 4, 1), dtype=np.uint8)
    entries = [packed.Entry(k, 2, 0, (0.0, 0.5), "é") for k in range(2)]
    packed.write(path, [(entries[0], frames), (entries[1], frames + 1)])
    found = packed.read_header(path)
    assert packed.is_whole(found) and found.entries[1].offset == 32
    assert tuple(found.entries[0].time_s) == (0.0, 0.5) and found.entries[0].note == "é"
    _, view = packed.view(path, found.start + 32, (2, 4, 4, 1))
    np.testing.assert_array_equal(view, frames + 1)
    assert os.listdir(tmp_path / "x") == ["a.frames"]


DECODING = (5, "87a7501758c7aa87")  # bundle.VERSION, and the source that it stands for


def test_whoever_changes_the_decoding_decides_about_its_version():
    data = Path(bundle.__file__).parent
    files = [data / "intensity.py", *sorted((data / "readers").glob("*.py"))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    assert (bundle.VERSION, digest) == DECODING, (
        "if the same file now gives other frames, raise bundle.VERSION; then record the new digest"
    )
