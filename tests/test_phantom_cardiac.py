"""Laws of the synthetic cardiac cohort: its files say what its labels say."""

import json
import subprocess
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from contents import digests

from tvrl_jax.data import phantom
from tvrl_jax.data.phantom import cardiac
from tvrl_jax.data.phantom.cardiac import anatomy, beats, cycle, design, heart, scanner
from tvrl_jax.data.phantom.cardiac.physiology import Sector, draw_patient
from tvrl_jax.data.phantom.cardiac.subject import draw, pictures, row
from tvrl_jax.data.phantom.raster import plane
from tvrl_jax.data.phantom.streams import PATIENT, stream
from tvrl_jax.data.readers import read
from tvrl_jax.errors import UserError
from tvrl_jax.files import whole_file

SETTINGS = dict(kind="cardiac", subjects=20, seed=3, size=64, nuisance="mild")
SMALL = SETTINGS | dict(subjects=5, size=32)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    phantom.write(folder, **SETTINGS, progress=False, processes=1)
    return folder


@pytest.fixture(scope="module")
def table(root):
    return pd.read_csv(root / "cohort.csv")


def load(path):
    image = nib.load(path)
    return image, np.asarray(image.dataobj)[:, :, 0].transpose(2, 1, 0)


def patient(index, **change):
    drawn = draw_patient(stream(7, PATIENT, index), cad=False, af=change.pop("af", False))
    return drawn._replace(**change)


def curve(p, index=0):
    return p.edv * (1 - p.ef * beats.emptied(p, stream(7, 99, index)).mean(axis=0))


# ---------------------------------------------------------------- volumes and areas


def test_the_mask_gives_the_labelled_volumes_back(root, table):
    """V = 5/6 L A (A/A0)^0.23 from counted pixels; a 64-pixel cavity has 100 to 400 of them."""
    for line in table.itertuples():
        image, mask = load(root / line.mask)
        pixel = float(np.prod(image.header.get_zooms()[:2]))
        area_T = (mask == 1).sum((1, 2)) * pixel
        volume_T = 5 / 6 * line.length_mm * area_T * (area_T / line.area_mm2) ** 0.23 / 1000
        drawn_T = draw(SETTINGS["seed"], line.Index, size=64, nuisance="mild").volume_T
        np.testing.assert_allclose(volume_T, drawn_T, rtol=0.07)
        assert abs(np.mean(volume_T / drawn_T) - 1) < 0.02
        assert volume_T.max() == pytest.approx(line.LVEDV, rel=0.05)
        assert volume_T.min() == pytest.approx(line.LVESV, rel=0.07)


def test_the_bullet_volume_of_the_drawn_cavity_is_the_drawn_edv():
    for index in range(10):
        p = patient(index)
        lv = anatomy.ventricle(p)
        area = anatomy.cavity_area(lv, np.zeros(1))
        assert anatomy.volume(lv, area)[0] == pytest.approx(p.edv, rel=1e-9)
        assert 5 / 6 * lv.area * lv.length / 1000 == pytest.approx(p.edv, rel=1e-9)


def test_without_disease_the_volume_is_edv_less_what_was_ejected():
    p = patient(1)
    empty_T = beats.emptied(p, stream(7, 99, 0))[0]
    lv = anatomy.ventricle(p)
    area_T = anatomy.cavity_area(lv, anatomy.inward(empty_T, p.ef))
    np.testing.assert_allclose(anatomy.volume(lv, area_T), p.edv * (1 - p.ef * empty_T), rtol=1e-9)


def test_myocardial_area_is_conserved_while_the_cavity_shrinks(root, table):
    for line in table.itertuples():
        _, mask = load(root / line.mask)
        muscle_T, cavity_T = ((mask == k).sum((1, 2)) for k in (2, 1))
        assert abs(muscle_T / muscle_T.mean() - 1).max() < 0.10
        assert cavity_T.min() < 0.85 * cavity_T.max()


def test_the_picture_shows_the_cavity_where_the_mask_says(root, table):
    for line in table.itertuples():
        _, frame = load(root / line.path)
        _, mask = load(root / line.mask)
        assert frame[mask == 1].mean() > 1.3 * frame[mask == 2].mean()


# ---------------------------------------------------------------- labels


def test_labels_agree_with_each_other(table):
    np.testing.assert_allclose(table.LVSV, table.LVEDV - table.LVESV, atol=2e-3)
    np.testing.assert_allclose(table.LVEF, 100 * table.LVSV / table.LVEDV, atol=2e-2)
    np.testing.assert_allclose(table.CO, table.LVSV * table.HR / 1000, atol=2e-4)


def test_distributions_are_those_of_a_widened_population():
    rows = pd.DataFrame([row(draw(0, i, size=64, nuisance="mild")) for i in range(200)])
    assert rows.LVEF.between(20, 80).all() and 48 < rows.LVEF.mean() < 62 and rows.LVEF.std() > 7
    assert rows.LVEDV.between(70, 330).all() and 125 < rows.LVEDV.mean() < 165
    assert rows.HR.between(44, 116).all() and 10 < rows.HR.std() < 15
    assert rows.CAD.mean() == pytest.approx(0.35) and rows.AF.mean() == pytest.approx(0.25)
    men = rows.sex == "M"
    assert rows.LVEDV[men].mean() > rows.LVEDV[~men].mean() + 15


def test_function_rate_and_disease_are_not_in_the_first_frame():
    """Size at end-diastole and the nuisances say next to nothing about the other labels."""
    rows = pd.DataFrame([row(draw(0, i, size=64, nuisance="mild")) for i in range(400)])
    rows = rows.assign(site=rows.site.map({"A": 0, "B": 1, "C": 2}), M=rows.sex == "M")
    static = ["area_mm2", "spacing_mm", "wall_mm", "site"]
    assert rows[static].corrwith(rows.LVEF).abs().max() < 0.3
    for label in ("CAD", "AF", "HR"):
        assert rows[[*static, "age", "M"]].corrwith(rows[label]).abs().max() < 0.25
    assert abs(rows.CAD.corr(rows.AF)) < 0.2


def test_splits_and_diseases_are_balanced_in_every_block_and_do_not_depend_on_the_count():
    rows = design.block(5, 0)
    assert [sum(r.split == s for r in rows) for s in ("train", "val", "test")] == [14, 3, 3]
    for split, cad, af in (("train", 5, 3), ("val", 1, 1), ("test", 1, 1)):  # as documented
        of_split = [r for r in rows if r.split == split]
        assert (sum(r.cad for r in of_split), sum(r.af for r in of_split)) == (cad, af)
    assert design.assign(5, 7) == rows[7] and design.block(5, 1) != rows


# ---------------------------------------------------------------- the cycle


def test_systole_shortens_less_than_diastole_with_rising_rate():
    slow, fast = (cycle.intervals(60 / hr, male=True, af=False) for hr in (60, 90))
    assert slow.closing == pytest.approx(0.420) and fast.closing == pytest.approx(0.357)
    systole = fast.closing / slow.closing
    diastole = (fast.rr - fast.closing) / (slow.rr - slow.closing)
    assert 0.8 < systole < 1 and diastole < 0.6


@pytest.mark.parametrize("hr", [45, 70, 115])
@pytest.mark.parametrize("male", [True, False])
def test_a_steady_beat_ends_where_it_began_and_is_empty_in_between(hr, male):
    p = patient(0, hr=float(hr), male=male, late=0.3)
    empty_T = beats.emptied(p, None)[0]
    assert empty_T[0] == 0 and empty_T.max() == 1 and empty_T.min() >= 0
    assert 0.28 < empty_T.argmax() / beats.FRAMES < 0.65
    at = cycle.intervals(60 / p.hr, male=male, af=False)
    assert cycle.filled(at.rr, at, p.late) == pytest.approx(1)
    assert at.opening < at.closing < at.filling < at.early_end <= at.rr


def test_atrial_fibrillation_has_no_late_filling_and_irregular_beats():
    for index in range(20):
        sinus, fibrillation = (patient(index, af=af, hr=62.0) for af in (False, True))
        late = [
            np.ptp(curve(p, index)[-8:]) / np.ptp(curve(p, index)) for p in (sinus, fibrillation)
        ]
        assert late[0] > 0.14 and late[1] < 0.6 * late[0]
        rr_B = beats.irregular_rr(1.0, stream(7, 99, index))
        assert rr_B.mean() == pytest.approx(1.0, abs=0.05) and np.ptp(rr_B) > 0.05
        spread_T = beats.emptied(fibrillation, stream(7, 99, index)).std(axis=0)
        assert spread_T[-8:].mean() > 0.02


def test_beats_sharing_k_space_equal_a_fourier_transform_made_of_their_rows():
    beat_BTHW = np.random.default_rng(0).random((4, 2, 16, 12))
    rows = np.fft.fft(beat_BTHW, axis=-2)
    mixed = np.empty_like(rows[0])
    for b in range(4):
        mixed[:, b::4] = rows[b][:, b::4]
    real, imaginary = scanner.interleaved(beat_BTHW)
    np.testing.assert_allclose(
        np.abs(real + 1j * imaginary), np.abs(np.fft.ifft(mixed, axis=-2)), atol=1e-12
    )


# ---------------------------------------------------------------- coronary disease


def thickness(lv, degrees, inward):
    """Wall thickness in mm in a direction, read off the borders that are drawn."""
    angle = np.radians(degrees)
    p = plane(4, 1.0, 0.0, (0.0, 0.0))._replace(
        x=np.full((1, 1), 20 * np.cos(angle)), y=np.full((1, 1), 20 * np.sin(angle))
    )
    inner, outer = heart.borders(heart.polar(lv, p), np.array([inward]))
    return float((outer - inner)[0, 0, 0])


def test_coronary_disease_weakens_thickening_in_its_sector_and_nowhere_else():
    healthy = patient(2)
    sick = healthy._replace(sector=Sector(30.0, 45.0, 0.9))
    peak = anatomy.inward(1.0, healthy.ef)
    gain = {}
    for name, p in (("healthy", healthy), ("sick", sick)):
        lv = anatomy.ventricle(p)
        gain[name] = {
            d: thickness(lv, d, peak) / thickness(lv, d, 0.0) - 1 for d in (30, 60, 150, 210, 270)
        }
    for degrees in (30, 60):
        assert gain["sick"][degrees] < 0.25 * gain["healthy"][degrees]
    for degrees in (150, 210, 270):
        assert gain["sick"][degrees] == gain["healthy"][degrees] > 0.15
    areas = [
        anatomy.cavity_area(anatomy.ventricle(p), np.array([0, peak])) for p in (healthy, sick)
    ]
    assert areas[0][0] == pytest.approx(areas[1][0]) and areas[1][1] > 1.2 * areas[0][1]


# ---------------------------------------------------------------- pictures and files


def test_header_has_spacing_millimetres_and_one_fiftieth_of_rr_in_seconds(root, table):
    for line in table.itertuples():
        image = nib.load(root / line.path)
        assert image.shape == (64, 64, 1, 50) and image.get_data_dtype() == np.int16
        assert image.header.get_xyzt_units() == ("mm", "sec")
        zooms = image.header.get_zooms()
        assert zooms[0] == zooms[1] == pytest.approx(line.spacing_mm, abs=1e-5)
        assert zooms[3] == pytest.approx(60 / line.HR / 50, rel=1e-4)
        assert np.isnan(image.header["scl_slope"])


def test_files_hold_the_drawn_pictures_upright(root, table):
    """`array[:, :, 0, k].T` has the chest wall on top and the right ventricle on the left."""
    drawn = pictures(draw(3, 0, size=64, nuisance="mild"), 64, 3, 0)
    for column, expected in zip(("path", "mask"), drawn, strict=True):
        image, array = load(root / table[column][0])
        np.testing.assert_array_equal(array, expected)
        assert nib.aff2axcodes(image.affine)[:2] == ("L", "P")
    frames, mask = pictures(draw(3, 0, size=64, nuisance="none"), 64, 3, 0)
    assert frames[0, :12].mean() > 1.2 * frames[0, 46:50, 20:44].mean()
    y, x = (int(v.mean()) for v in np.nonzero(mask[0] == 1))
    radius = int(np.sqrt((mask[0] > 0).sum() / np.pi))
    assert frames[0, y, x - radius - 4] > 2 * frames[0, y, x + radius + 6]


def test_the_ordinary_reader_finds_frames_times_and_spacing(root, table):
    line = table.iloc[0]
    (image,) = read(str(root / line.path))
    np.testing.assert_array_equal(image.frame_THWC[..., 0], load(root / line.path)[1])
    np.testing.assert_allclose(image.time_T, np.arange(50) * 60 / line.HR / 50, rtol=1e-4)
    assert image.spacing_mm == pytest.approx((line.spacing_mm, line.spacing_mm), rel=1e-5)


def test_the_left_ventricle_spans_a_third_of_the_picture():
    widths = []
    for index in range(20):
        s = draw(0, index, size=96, nuisance="mild")
        widths.append(2 * (s.lv.radius + s.lv.wall) / (96 * s.look.spacing))
    assert 0.30 < np.mean(widths) < 0.40


def test_nuisance_none_draws_every_subject_in_the_same_chest_and_contrast():
    frames = [pictures(draw(0, i, size=32, nuisance="none"), 32, 0, i)[0] for i in (0, 1)]
    far = np.ones((32, 32), bool)
    far[4:28, 1:27] = False  # leaves out where the hearts are
    np.testing.assert_array_equal(frames[0][:, far], frames[1][:, far])
    lv = [draw(0, i, size=32, nuisance="none").look for i in (0, 1)]
    assert lv[0].signal == lv[1].signal and lv[0].spacing == lv[1].spacing


def test_nuisances_leave_the_patients_as_they_are():
    a, b = (row(draw(0, 4, size=64, nuisance=n)) for n in ("none", "strong"))
    same = ("split", "LVEDV", "LVESV", "LVEF", "HR", "CO", "CAD", "AF", "age")
    assert [a[k] for k in same] == [b[k] for k in same] and a["spacing_mm"] != b["spacing_mm"]


def test_noise_is_new_in_every_frame_and_rician():
    rng = stream(0, 4, 0)
    noisy = scanner.magnitude(np.zeros((2, 64, 64), np.float32), np.float32(0), 0.1, rng)
    assert noisy.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.02)
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.06


def test_same_files_from_one_process_from_two_and_in_a_longer_cohort(tmp_path):
    phantom.write(tmp_path / "a", **SMALL, progress=False, processes=1)
    phantom.write(tmp_path / "b", **SMALL, progress=False, processes=2)
    phantom.write(tmp_path / "c", **SMALL | dict(subjects=3), progress=False, processes=1)
    one, two, short = (digests(tmp_path / n) for n in "abc")
    assert one == two and len(one) == 12
    pictures_only = [k for k in short if k.endswith(".nii.gz")]
    assert len(pictures_only) == 6 and all(short[k] == one[k] for k in pictures_only)


def test_an_interrupted_writing_goes_on_and_ends_equal(tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    phantom.write(whole, **SMALL, progress=False, processes=1)
    written = []

    def fail_at_the_sixth(path, content, real=whole_file.write, **how):
        if len(written) == 5:
            path.with_name(f".{path.name}.part").write_bytes(content[:10])
            raise KeyboardInterrupt
        written.append(path)
        real(path, content, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cardiac, "whole_file", SimpleNamespace(write=fail_at_the_sixth))
        phantom.write(cut, **SMALL, progress=False, processes=1)
    assert not (cut / "phantom.json").exists() and not (cut / "cohort.csv").exists()
    with pytest.raises(UserError, match="seed is 3 there and 4 here"):
        phantom.write(cut, **SMALL | dict(seed=4), progress=False)
    kept = written[0].stat().st_mtime_ns
    phantom.write(cut, **SMALL, progress=False, processes=1)
    assert written[0].stat().st_mtime_ns == kept
    assert digests(cut) == digests(whole)


def test_a_finished_cohort_is_left_alone_and_other_settings_are_refused(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    phantom.write(root, **SETTINGS, progress=False)
    assert before == {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert json.loads((root / "phantom.json").read_text())["nuisance"] == "mild"
    with pytest.raises(UserError, match="'mild' there and 'none' here"):
        phantom.write(root, **SETTINGS | dict(nuisance="none"), progress=False)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("keep me")
    with pytest.raises(UserError, match="empty or a new folder"):
        phantom.write(tmp_path, **SMALL, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "change",
    [
        dict(kind="cardiak"),
        dict(nuisance="mid"),
        dict(size=66),
        dict(size=16),
        dict(subjects=0),
        dict(seed=-1),
    ],
)
def test_wrong_settings_are_named_and_nothing_is_written(tmp_path, change):
    with pytest.raises(UserError, match=f"data.phantom.{next(iter(change))}"):
        phantom.write(tmp_path / "x", **SMALL | change, progress=False)
    assert not (tmp_path / "x").exists()


def test_command_line(tmp_path):
    base = [sys.executable, "-m", "tvrl_jax.data.phantom"]
    good = [*base, f"--out={tmp_path / 'x'}", "--subjects=2", "--size=32"]
    for arguments, code, says in (
        (good, 0, ""),
        ([*good, "--size=33"], 2, "multiple of 4"),
        ([*base, "--subject=3"], 2, "subjects"),
        ([*base, "here"], 2, '"here" is not a flag'),
        (base, 2, "--out"),
        ([*base, f"--out={tmp_path / 'x' / 'cohort.csv' / 'y'}"], 2, "cannot write there"),
    ):
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode == code and says in done.stderr
        assert "Traceback" not in done.stderr


def test_workers_import_no_jax():
    code = "import sys, tvrl_jax.data.phantom.cardiac; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
