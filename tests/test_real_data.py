"""The presets on real images: real times, real order, nothing but configuration."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pydicom.examples
import pytest

from configs import base, cohorts
from tvrl_jax.data.pack import open_store
from tvrl_jax.data.store import Store
from tvrl_jax.data.targets import labels


@pytest.fixture(scope="module")
def opened(real_data_dir, tmp_path_factory):
    """opened(preset, folder, key=value, ...) -> Store"""

    def run(name: str, folder: str, **changes) -> Store:
        data = cohorts.apply(base.get_config(), name).data
        data.root = str(real_data_dir / folder)
        data.store = str(tmp_path_factory.getbasetemp() / "real_store")
        for key, value in changes.items():
            data[key] = value
        return open_store(**data)

    return run


def trigger_times(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    with open(folder / "slice_timing.csv", newline="") as file:
        return {
            (row["subject"], int(row["slice"])): np.array(row["trigger_times_ms"].split(), float)
            for row in csv.DictReader(file)
        }


@pytest.fixture(scope="module")
def nifti(opened):
    return opened("sunnybrook", "sunnybrook", targets=("ef_pct_contours:regression",))


def test_sunnybrook_times_are_the_trigger_times(nifti, real_data_dir):
    known = trigger_times(real_data_dir / "sunnybrook")
    assert len(nifti.series) == 22 and nifti.subjects == ("SCD0000101", "SCD0000301")
    for info in nifti.series:
        assert info.frames == 20
        np.testing.assert_allclose(info.time_T, known[info.subject, info.slice] / 1000, atol=1e-12)
    assert len({tuple(info.time_T) for info in nifti.series}) > 2  # RR differs between slices
    assert nifti.targets()[0, 0] == pytest.approx(26.8)


def test_sunnybrook_npz_has_the_same_times_and_pictures(opened, nifti):
    npz = opened("sunnybrook_npz", "sunnybrook")
    assert [(i.subject, i.slice) for i in npz.series] == [
        (i.subject, i.slice) for i in nifti.series
    ]
    for ours, theirs in zip(npz.series, nifti.series, strict=True):
        np.testing.assert_allclose(ours.time_T, theirs.time_T, atol=6e-6)  # 2 decimals of ms


def test_sunnybrook_npz_and_nifti_are_upright_alike(real_data_dir, nifti):
    """The npz frames are a crop of the NIfTI ones: rows are rows in both readers."""
    from tvrl_jax.data.readers import read

    folder = real_data_dir / "sunnybrook"
    volume = read(str(folder / "nifti" / "SCD0000301_sa.nii.gz"), slice=4)[0].frame_THWC
    crop = read(str(folder / "compact" / "SCD0000301.npz"), slice=4)[0].frame_THWC
    part = volume[:, 28 : 28 + 128, 35 : 35 + 128].astype(float)
    alike = np.corrcoef(part.ravel(), crop.astype(float).ravel())[0, 1]
    turned = np.corrcoef(part.transpose(0, 2, 1, 3).ravel(), crop.astype(float).ravel())[0, 1]
    assert alike > 0.7 > turned + 0.2


def test_sunnybrook_dicom_follows_trigger_time(opened, real_data_dir):
    store = opened("sunnybrook_dicom", "sunnybrook")
    (info,), (skipped,) = store.series, store.skipped
    assert skipped.row == 2 and "does not exist" in skipped.reason
    known = trigger_times(real_data_dir / "sunnybrook")["SCD0000301", 0]
    np.testing.assert_allclose(info.time_T, known / 1000, atol=1e-12)
    folder = real_data_dir / "sunnybrook" / "dicom" / "SCD0000301_slice"
    files = [pydicom.dcmread(path) for path in folder.iterdir()]
    files.sort(key=lambda file: float(file.TriggerTime))
    pixels = np.stack([file.pixel_array for file in files]).astype(float)
    # 256 pixels of 1.289 mm -> 128 of 1.5 mm: the mean brightness of the field of view follows.
    edge = round((256 - 128 * 1.5 / 1.2891) / 2)
    field = pixels[:, edge:-edge, edge:-edge].mean(axis=(1, 2))
    stored = store.frames(0, np.arange(20)).mean(axis=(1, 2, 3))
    assert np.corrcoef(field, stored)[0, 1] > 0.99


def test_lung_ultrasound_clips_keep_their_frame_rate(opened):
    store = opened("lung_ultrasound", "lung_ultrasound")
    assert len(store.series) == 15 and len(store.subjects) == 5
    for info, fps in zip(store.series, store.text["fps"], strict=True):
        assert info.frames == 48
        np.testing.assert_allclose(np.diff(info.time_T), 1 / float(fps), rtol=1e-4)
    _, names = labels(*store.known_targets, store.text, store.where)
    assert names == ("Bacterial pneumonia", "Viral pneumonia", "regular")
    for name in ("train", "val", "test"):
        assert len(store.split(name))


def test_echo_folder_without_a_table(opened):
    store = opened("echo", "dicom")
    (info,) = store.series
    assert info.frames == 30
    np.testing.assert_allclose(info.time_T, np.arange(30) * 0.033333, atol=1e-9)
    assert store.frames(0, [3]).max() == 255


def test_echo_cine_of_pydicom(tmp_path):
    shutil.copy(pydicom.examples.get_path("ybr_color"), tmp_path / "echo.dcm")
    data = cohorts.apply(base.get_config(), "echo").data
    data.root, data.store, data.channels = str(tmp_path), str(tmp_path / "store"), 3
    store = open_store(**data)
    assert store.subjects == ("echo",) and store.frames(0, [0, 29]).shape == (2, 128, 128, 3)


def test_radiographs_are_dated_visits(opened, real_data_dir):
    store = opened("hannover_cxr", "hannover_cxr")
    with open(real_data_dir / "hannover_cxr" / "images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(info.frames for info in store.series) == len(rows) == 89
    days = {}
    for row in rows:
        days.setdefault(row["patient_id"], []).append(float(row["day"]))
    for info in store.series:
        assert info.time_T.tolist() == sorted(days[info.subject])
    assert any(np.any(np.diff(info.time_T) == 0) for info in store.series)  # same-day ties
    assert store.time_unit == "days" and len(store.series) == 28
    assert max(info.frames for info in store.series) == 22


def test_ties_keep_the_order_of_the_table(opened, real_data_dir):
    from tvrl_jax.data.cohort import load_cohort

    data = cohorts.apply(base.get_config(), "hannover_cxr").data
    data.root = str(real_data_dir / "hannover_cxr")
    for record in load_cohort(**data).records:
        order = [(source.time, source.row) for source in record.sources]
        assert order == sorted(order)


def test_two_brain_volumes_eighty_one_days_apart(opened):
    store = opened("ms_brain", "ms_brain")
    assert len(store.series) == 60
    assert all(info.time_T.tolist() == [0, 81] for info in store.series)
    assert not store.frames(0, [0, 1]).any()  # an empty slice is black, not NaN
