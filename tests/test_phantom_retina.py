"""Laws of the synthetic retinal cohort: eyes grow, convert and are labelled as the model says."""

import csv
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from contents import digests
from PIL import Image
from scipy import integrate, stats
from threadpoolctl import threadpool_limits

from benchmarks import retina_baseline as baseline
from configs import tvrl
from tvrl_jax.data import opening, phantom
from tvrl_jax.data.phantom import retina
from tvrl_jax.data.phantom.retina import disease as law
from tvrl_jax.data.phantom.retina.appearance import DEPTH_MM
from tvrl_jax.data.phantom.retina.disease import Disease, height_at
from tvrl_jax.data.phantom.retina.layers import LABELS, label_map, scans
from tvrl_jax.data.phantom.retina.subject import (
    SPLITS,
    draw,
    pictures,
    prognosis,
    rows,
    scans_of,
    split,
)
from tvrl_jax.errors import UserError
from tvrl_jax.files import whole_file

SETTINGS = dict(kind="retina", subjects=12, seed=3, size=32, nuisance="mild")
SMALL = SETTINGS | dict(subjects=4)
MANY = 1600


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of the linear algebra that outnumber free cores cost thirty times what they save."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    phantom.write(folder, **SETTINGS, progress=False, processes=1)
    return folder


@pytest.fixture(scope="module")
def table(root):
    return pd.read_csv(root / "cohort.csv")


@pytest.fixture(scope="module")
def patients():
    return [draw(0, i, nuisance="mild") for i in range(MANY)]


@pytest.fixture(scope="module")
def eyes(patients):
    """A row per eye: its disease, its labels and its patient's follow-up."""
    return pd.DataFrame(
        [
            s.disease._asdict()
            | prognosis(s.disease, p.visits.follow_up)
            | dict(
                patient=i,
                follow_up=p.visits.follow_up,
                visits=len(p.visits.years),
                span=p.visits.years[-1],
                va=s.letters,
            )
            for i, p in enumerate(patients)
            for s in p.series
        ]
    )


@pytest.fixture(scope="module")
def series(patients):
    return [
        baseline.One(i, p.visits.years, s.disease, prognosis(s.disease, p.visits.follow_up), None)
        for i, p in enumerate(patients)
        for s in p.series
    ]


def some_eye(index, **change):
    """A patient's first series with another disease."""
    patient = draw(5, index, nuisance="none")
    series = patient.series[0]
    return patient, series._replace(disease=series.disease._replace(**change))


# ---------------------------------------------------------------- growth


def druse_area(patient, series, size):
    """Area of the drusen in each label map, mm^2 [V]."""
    drawn = scans_of(patient, series, size)
    pixel = series.look.width_mm / size * DEPTH_MM / size
    return (label_map(drawn) == LABELS["drusen"]).sum((1, 2)) * pixel


def unit_area(eye):
    """mm^2 for a mean height of 1 mm: the integral of h (1 - (x/w)^2)^2 is 16/15 h w."""
    return 16 / 15 * float((eye.druse_share * eye.druse_width).sum())


def test_label_maps_of_repeated_visits_give_the_rate_of_growth_back():
    """Bruch's membrane lies flat here, so that counting pixels loses up to half a row of them."""
    tried = 0
    for index in range(40):
        patient, series = some_eye(index, conversion=9.0)
        if len(patient.visits.years) < 4 or abs(series.look.shift_V).max() > 0:
            continue
        time_V = patient.visits.years - patient.visits.years[-1]
        true_V = height_at(series.disease, time_V)
        counted_V = 1000 * druse_area(patient, series, 512) / unit_area(series.eye)
        np.testing.assert_allclose(counted_V, true_V, rtol=0.02, atol=2.5)
        shown = true_V > 5
        if shown.sum() > 2 and np.ptp(time_V[shown]) > 1:
            slope = np.polyfit(time_V[shown], counted_V[shown], 1)[0]
            assert slope == pytest.approx(series.disease.rate, rel=0.05, abs=0.4)
            tried += 1
    assert tried >= 10


def test_rates_survive_the_jitter_of_the_scans_at_the_pixels_that_are_trained_on():
    """64 pixels, scans that move between visits: noisier, but the fast are told from the slow."""
    true, found = [], []
    for index in range(120):
        patient = draw(6, index, nuisance="mild")
        for one in patient.series:
            time_V = patient.visits.years - patient.visits.years[-1]
            series = one._replace(disease=one.disease._replace(conversion=9.0))
            shown = height_at(series.disease, time_V) > 5
            if shown.sum() > 2 and np.ptp(time_V[shown]) > 1:
                height_V = 1000 * druse_area(patient, series, 64) / unit_area(series.eye)
                true.append(series.disease.rate)
                found.append(np.polyfit(time_V[shown], height_V[shown], 1)[0])
    assert len(true) > 50 and np.corrcoef(true, found)[0, 1] > 0.85


def test_rate_and_present_height_are_independent_and_so_the_drusen_differ_in_age(eyes):
    assert abs(np.log(eyes.rate).corr(np.log(eyes.height))) < 0.06
    years = eyes.height / eyes.rate
    assert years.quantile(0.1) < 2 and years.quantile(0.9) > 9


def test_the_two_eyes_of_a_patient_are_alike_but_not_the_same(patients):
    both = [p for p in patients if len(p.series) == 2]
    assert 0.4 < len(both) / len(patients) < 0.5
    for name, least, most in (("rate", 0.55, 0.8), ("height", 0.45, 0.75), ("trait", 0.55, 0.8)):
        right, left = (
            [np.log(getattr(p.series[k].disease, name)) if name != "trait"
             else p.series[k].disease.trait for p in both]
            for k in (0, 1)
        )  # fmt: skip
        assert least < np.corrcoef(right, left)[0, 1] < most


# ---------------------------------------------------------------- hazard


@pytest.mark.parametrize("rate", [5.0, 15.0, 50.0])
def test_the_cumulative_hazard_is_the_integral_of_the_hazard(rate):
    def hazard(years):
        height = rate * years
        return (
            law.HAZARD * (height / law.HEIGHT) ** law.BY_HEIGHT * (rate / law.RATE) ** law.BY_RATE
        )

    for years in (1.0, 4.0, 12.0):
        numeric, _ = integrate.quad(hazard, 0, years)
        closed = law.cumulative_hazard(rate, years)
        assert closed == pytest.approx(numeric, rel=1e-6)
        assert law.years_until(rate, closed) == pytest.approx(years)
    assert law.cumulative_hazard(rate, -1.0) == 0


def spent(eyes, start, stop):
    """Cumulative hazard of each eye between two times after its last visit."""
    years = eyes.height / eyes.rate
    return law.cumulative_hazard(eyes.rate, years + stop) - law.cumulative_hazard(
        eyes.rate, years + start
    )


def test_conversions_come_after_a_unit_exponential_of_hazard_whatever_the_rate(eyes):
    third = pd.qcut(eyes.rate, 3, labels=False)
    used = spent(eyes, -law.RECENT, eyes.conversion)
    for k in range(3):
        assert stats.kstest(used[third == k], "expon").pvalue > 0.01


def test_observed_conversions_are_as_many_as_the_hazard_says_and_rise_with_the_rate(eyes):
    """Observed less expected is a martingale: its variance is the number expected."""
    early = eyes[eyes.late == 0]
    expected = spent(early, 0.0, early.duration)
    third = pd.qcut(early.rate, 3, labels=False)
    per_year = []
    for k in range(3):
        group = early[third == k]
        events = group.event.sum()
        assert abs(events - expected[third == k].sum()) < 3.5 * np.sqrt(expected[third == k].sum())
        per_year.append(events / group.duration.sum())
    assert per_year[1] > 1.8 * per_year[0] and per_year[2] > 1.8 * per_year[1]


def test_at_equal_height_the_hazard_rises_with_the_rate(eyes):
    """Within a narrow band of present heights, as a power of the rate."""
    for height in (40.0, 80.0, 160.0):
        rate = np.array([8.0, 16.0])
        per_year = np.diff(
            law.cumulative_hazard(rate, height / rate + np.array([[0.0], [1e-5]])), axis=0
        )
        assert (per_year[0, 1] / per_year[0, 0]) == pytest.approx(2**law.BY_RATE, rel=1e-3)
    band = eyes[(eyes.late == 0) & eyes.height.between(60, 95) & eyes.convert_3y.notna()]
    fast = band.rate > band.rate.median()
    assert band.convert_3y[fast].mean() > 3 * band.convert_3y[~fast].mean()


def test_the_kind_of_conversion_follows_the_trait(eyes):
    share = law.neovascular_share(eyes.trait)
    for k in range(3):
        group = pd.qcut(eyes.trait, 3, labels=False) == k
        error = np.sqrt((share * (1 - share))[group].sum()) / group.sum()
        assert abs(eyes.neovascular[group].mean() - share[group].mean()) < 3.5 * error
    assert share.min() < 0.15 and share.max() > 0.85


# ---------------------------------------------------------------- prognosis


def test_an_oracle_of_rate_and_state_beats_one_of_the_last_state(series):
    """Measured at 3,000 patients by benchmarks/retina_baseline.py: 0.89, 0.70 and 0.81."""
    truth = baseline.truths(series)
    assert truth["rate and height"] > 0.85
    assert truth["rate and height"] - truth["height"] > 0.12
    assert truth["rate and height"] - truth["rate"] > 0.04  # the state counts as well


def test_the_trait_tells_between_the_kinds_of_conversion(series):
    """Measured at 3,000 patients: 0.86 with it and 0.81 (atrophy), 0.82 (neovascular) without."""
    truth = baseline.truths_of_kinds(series)
    for kind in ("atrophy", "neovascular"):
        assert truth[kind] - truth[f"{kind} without the trait"] > 0.015


def test_prognosis_needs_more_than_the_last_image_and_needs_the_intervals(series):
    """With true heights in place of images: 0.84 with times, 0.77 in order, 0.70 from the last."""
    known = baseline.prognoses(series, [s.height_V for s in series])
    assert known["all visits, with times"] > known["last visit"] + 0.08
    assert known["all visits, with times"] > known["all visits, in order"] + 0.04


@pytest.mark.parametrize("label", ["late", "convert_3y"])
def test_the_dates_alone_say_nothing(series, label):
    patient_N = np.array([s.patient for s in series])
    score = baseline.auroc(baseline.clock(series), baseline.column(series, label), patient_N)
    assert score < 0.55  # cross-validation of what says nothing falls below a half, if anywhere


def test_late_disease_and_the_height_of_drusen_show_in_half_size_pictures():
    series = baseline.cohort(120, seed=1, nuisance="mild", size=64)
    small = [s._replace(image_VHW=baseline.halved(s.image_VHW)) for s in series]
    for size, those in ((64, series), (32, small)):
        scores = baseline.seen(those)
        assert scores["late"] > 0.9, size
        assert scores["height (R2)"] > 0.6, size


# ---------------------------------------------------------------- visits


def test_visits_are_1_to_12_within_8_years_uneven_and_skewed(patients):
    counts = np.array([len(p.visits.years) for p in patients])
    assert counts.min() == 1 and counts.max() == 12 and 4 < counts.mean() < 5
    assert stats.skew(counts) > 0.7 and 0.08 < (counts == 1).mean() < 0.2
    for p in patients:
        assert p.visits.years[0] == 0 and p.visits.years[-1] <= 8
        assert (np.diff(p.visits.years) > 0).all()
    gaps = [np.diff(p.visits.years) for p in patients if len(p.visits.years) > 3]
    assert np.mean([g.std() / g.mean() for g in gaps]) > 0.35  # within a patient
    assert np.std([np.log(g.mean()) for g in gaps]) > 0.5  # between patients


def test_the_number_of_a_visit_is_no_stand_in_for_its_time(patients, eyes):
    pairs = [(v, y) for p in patients for v, y in enumerate(p.visits.years)]
    assert np.corrcoef(*zip(*pairs, strict=True))[0, 1] < 0.75
    assert eyes.visits.corr(eyes.span) < 0.7


# ---------------------------------------------------------------- labels


def test_shares_of_the_classes(eyes):
    assert 0.11 < eyes.late.mean() < 0.18
    early = eyes[eyes.late == 0]
    assert 0.25 < early.convert_3y.mean() < 0.37
    assert early.convert_3y_atrophy.mean() > 0.1 and early.convert_3y_neovascular.mean() > 0.1
    assert 0.4 < early.event.mean() < 0.55 and early.convert_3y.notna().mean() > 0.7


def test_known_conversions_are_a_larger_share_than_the_risk(eyes):
    """Of a short follow-up only who converts is known: 31.8 % against 28.4 % by Kaplan-Meier."""
    early = eyes[eyes.late == 0]
    end = early.duration.astype(float).clip(upper=3).to_numpy()
    converted = end[(early.event == 1) & (early.duration <= 3)]
    risk = 1 - np.prod([1 - 1 / (end >= t).sum() for t in converted])  # no two at the same time
    assert 0.02 < early.convert_3y.mean() - risk < 0.05
    assert (early[early.follow_up < 3].convert_3y.dropna() == 1).all()


def test_labels_agree_with_each_other(eyes):
    late = eyes.late == 1
    empty = ["convert_3y", "convert_3y_atrophy", "convert_3y_neovascular", "duration", "event"]
    assert eyes[late][[*empty, "event_kind"]].isna().all(axis=None)
    early = eyes[~late]
    assert early[["duration", "event"]].notna().all(axis=None) and (early.duration > 0).all()
    soon = (early.event == 1) & (early.duration <= 3)
    known = soon | (early.duration >= 3)
    assert (early.convert_3y.notna() == known).all()
    assert (early.convert_3y[known] == soon[known]).all()
    kinds = early[["convert_3y_atrophy", "convert_3y_neovascular"]]
    assert (kinds.sum(axis=1, min_count=2)[known] == early.convert_3y[known]).all()
    assert (early.event_kind.notna() == (early.event == 1)).all()
    kind = early.event_kind[known & soon]
    assert ((kind == "atrophy") == (early.convert_3y_atrophy[known & soon] == 1)).all()
    assert (eyes.late_kind.notna() == late).all()
    assert (early.duration[early.event == 0] == early.follow_up[early.event == 0]).all()


@pytest.mark.parametrize(
    "conversion, follow_up, expected",
    [
        (-0.5, 9.0, dict(late=1, convert_3y=None, duration=None, event=None)),
        (2.0, 9.0, dict(late=0, convert_3y=1, duration=2.0, event=1)),
        (2.0, 1.0, dict(late=0, convert_3y=None, duration=1.0, event=0)),
        (2.0, 2.0, dict(late=0, convert_3y=1, duration=2.0, event=1)),
        (5.0, 9.0, dict(late=0, convert_3y=0, duration=5.0, event=1)),
        (5.0, 4.0, dict(late=0, convert_3y=0, duration=4.0, event=0)),
        (5.0, 3.0, dict(late=0, convert_3y=0, duration=3.0, event=0)),
    ],
)
def test_what_is_known_of_a_conversion(conversion, follow_up, expected):
    labels = prognosis(Disease(10.0, 50.0, 0.0, conversion, True), follow_up)
    assert {k: labels[k] for k in expected} == expected
    assert labels["convert_3y_neovascular"] == expected["convert_3y"]


def test_acuity_falls_with_damage_at_the_fovea(eyes):
    early, late = eyes[eyes.late == 0], eyes[eyes.late == 1]
    assert early.va.mean() > 75 and late.va.mean() < 55
    assert eyes.va.between(0, 100).all() and (eyes.va == eyes.va.round()).all()
    _, near = some_eye(0, conversion=-3.0, neovascular=False)
    at = lambda x: retina.vision.acuity(near.disease, near.eye._replace(lesion_x=x), 70.0, 0.0)  # noqa: E731
    assert at(0.0) < at(2.0) - 25


# ---------------------------------------------------------------- pictures


def late_scan(index, since, *, neovascular, size=32):
    """Borders, labels and picture of one visit, `since` years after conversion."""
    _, series = some_eye(index, conversion=-since, neovascular=neovascular, height=90.0)
    one = scans(series.disease, series.eye, cut(series.look), np.zeros(1), size)
    return (
        one,
        label_map(one)[0],
        retina.picture.pictures(one, series.eye, cut(series.look), None)[0],
    )


def cut(look):
    """An appearance of one visit."""
    return look._replace(**{n: getattr(look, n)[-1:] for n in look._fields if n.endswith("_V")})


@pytest.mark.parametrize("index", range(6))
def test_atrophy_lets_the_light_through_and_widens(index):
    area = []
    for since in (0.0, 2.0, 4.0):
        one, label_HW, image_HW = late_scan(index, since, neovascular=False)
        bare_W = one.late.atrophy[0] > 0.5
        below = np.where(label_HW == LABELS["choroid"], image_HW.astype(float), np.nan)
        light_W = np.nanmean(below, axis=0)
        assert light_W[bare_W].mean() > 1.25 * light_W[one.late.atrophy[0] == 0].mean()
        area.append(bare_W.sum())
    assert area[0] >= 2 and area[0] < area[1] < area[2]


@pytest.mark.parametrize("index", range(6))
def test_new_vessels_bring_dark_fluid_and_then_a_bright_scar(index):
    fluid, scar = {}, {}
    for since in (-0.1, 0.3, 4.0):
        _, label_HW, image_HW = late_scan(index, since, neovascular=True, size=64)
        fluid[since] = (label_HW == LABELS["fluid"]).sum()
        scar[since] = (label_HW == LABELS["scar"]).sum()
        if since == 0.3:
            retina_HW = label_HW == LABELS["retina"]
            assert image_HW[label_HW == LABELS["fluid"]].mean() < 0.6 * image_HW[retina_HW].mean()
        if since == 4.0:
            assert image_HW[label_HW == LABELS["scar"]].mean() > 1.2 * image_HW[retina_HW].mean()
    assert fluid[-0.1] == scar[-0.1] == 0
    assert fluid[0.3] > 30 and fluid[4.0] == 0 and scar[4.0] > 30


def test_layers_lie_in_order_and_the_fovea_is_a_pit():
    for index in range(20):
        patient = draw(2, index, nuisance="strong")
        for series in patient.series:
            one = scans_of(patient, series, 64)
            assert (np.diff(one.border_KVW, axis=0) <= 1e-12).all()  # upwards is smaller
    patient, series = some_eye(1, height=0.0, rate=0.0, conversion=9.0)
    one = scans_of(patient, series, 64)
    thick_W = (one.border_KVW[0] - one.border_KVW[-1])[0]
    middle, rim = abs(one.x_VW[0]) < 0.1, abs(abs(one.x_VW[0]) - 1.2) < 0.2
    assert 0.15 < thick_W[middle].mean() < 0.75 * thick_W[rim].mean() < 0.75 * 0.42


def test_eyes_differ_more_than_an_eye_changes():
    """Mean squared difference of pixels: first visits of two patients, first and last of one."""
    for nuisance in ("mild", "strong"):
        first, change = [], []
        for index in range(60):
            patient = draw(4, index, nuisance=nuisance)
            image_VHW = pictures(patient, patient.series[0], 64, 4).astype(float)
            first.append(image_VHW[0])
            change.append(((image_VHW[-1] - image_VHW[0]) ** 2).mean())
        between = [((a - b) ** 2).mean() for a, b in zip(first[1:], first[:-1], strict=True)]
        assert np.mean(between) > 1.5 * np.mean([c for c in change if c])


def test_nuisances_leave_the_patients_as_they_are():
    a, b = (pd.DataFrame(rows(draw(0, 4, nuisance=n), 64)) for n in ("none", "strong"))
    nuisance = ["site", "spacing_mm"]
    pd.testing.assert_frame_equal(a.drop(columns=nuisance), b.drop(columns=nuisance))
    assert (a.spacing_mm != b.spacing_mm).all()


def test_speckle_is_new_at_every_visit_and_absent_without_nuisance():
    patient = next(
        p for p in (draw(0, i, nuisance="mild") for i in range(50)) if len(p.visits.years) > 3
    )
    series = patient.series[0]
    series = series._replace(disease=series.disease._replace(rate=0.0, conversion=99.0))
    flat = {n: np.full_like(getattr(series.look, n), getattr(series.look, n)[0])
            for n in series.look._fields if n.endswith("_V")}  # fmt: skip
    still = series._replace(look=series.look._replace(**flat))
    noisy = pictures(patient, still, 64, 0).astype(float)
    noise = noisy - noisy.mean(axis=0)
    assert noise.std() > 3 and abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.5
    clean = pictures(patient, still._replace(look=still.look._replace(looks=0.0)), 64, 0)
    np.testing.assert_array_equal(clean[0], clean[1])


# ---------------------------------------------------------------- files


def test_splits_are_balanced_in_every_block():
    for block in (0, 1, 7):
        found = [split(9, 20 * block + i) for i in range(20)]
        assert sorted(found) == sorted(SPLITS)
    assert [split(9, i) for i in range(20)] != [split(9, 20 + i) for i in range(20)]


def test_files_are_grey_pngs_of_the_drawn_pictures(root, table):
    line = 0
    for index in range(SETTINGS["subjects"]):
        patient = draw(3, index, nuisance="mild")
        for series in patient.series:
            for image_HW in pictures(patient, series, 32, 3):
                with Image.open(root / table.path[line]) as image:
                    assert image.mode == "L" and image.format == "PNG"
                    np.testing.assert_array_equal(np.asarray(image), image_HW)
                line += 1
    assert line == len(table) == len(list((root / "images").iterdir()))


def test_the_table_repeats_labels_and_keeps_whole_numbers_whole(root, table):
    labels = table.columns.difference(["path", "years"])
    assert (table.groupby(["subject", "eye"])[labels].nunique() <= 1).all(axis=None)
    assert (table.groupby("subject").split.nunique() == 1).all()
    with open(root / "cohort.csv", newline="") as file:
        for line in csv.DictReader(file):
            for name in ("late", "convert_3y", "event"):
                assert line[name] in ("", "0", "1")


def test_the_preset_reads_it(root, table, tmp_path):
    config = tvrl.get_config("phantom_retina")
    changes = {f"data.phantom.{k}": v for k, v in SETTINGS.items()}
    paths = {"data.root": str(root), "data.store": str(tmp_path), "data.image_size": 32}
    config.update_from_flattened_dict(changes | paths)
    store = opening.open_cohort(config.data)
    groups = dict(tuple(table.groupby(["subject", "eye"])))
    assert len(store.series) == len(groups)
    values = store.targets()
    for k, info in enumerate(store.series):
        first = table.iloc[info.row - 2]  # the header is row 1
        group = groups[first.subject, first.eye]
        assert (info.subject, info.split) == (first.subject, first.split)
        np.testing.assert_allclose(info.time_T, group.years, atol=1e-9)
        for j, target in enumerate(store.known_targets):
            np.testing.assert_equal(values[k, j], np.float32(group[target.column].iloc[-1]))
        outcome = group[["event", "duration"]].iloc[-1].to_numpy(float)
        np.testing.assert_allclose(store.outcomes()[k], outcome, rtol=1e-6)


def test_same_files_from_one_process_from_two_and_in_a_longer_cohort(tmp_path):
    phantom.write(tmp_path / "a", **SMALL, progress=False, processes=1)
    phantom.write(tmp_path / "b", **SMALL, progress=False, processes=2)
    phantom.write(tmp_path / "c", **SMALL | dict(subjects=2), progress=False, processes=1)
    one, two, short = (digests(tmp_path / n) for n in "abc")
    assert one == two
    images = [k for k in short if k.endswith(".png")]
    assert images and all(short[k] == one[k] for k in images)


def test_an_interrupted_writing_goes_on_and_ends_equal(tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    phantom.write(whole, **SMALL, progress=False, processes=1)
    written = []

    def fail_at_the_third(path, content, real=whole_file.write, **how):
        if len(written) == 2:
            path.with_name(f".{path.name}.part").write_bytes(content[:10])
            raise KeyboardInterrupt
        written.append(path)
        real(path, content, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(retina, "whole_file", SimpleNamespace(write=fail_at_the_third))
        phantom.write(broken, **SMALL, progress=False, processes=1)
    assert not (broken / "phantom.json").exists() and not (broken / "cohort.csv").exists()
    phantom.write(broken, **SMALL, progress=False, processes=1)
    assert digests(broken) == digests(whole)


def test_other_settings_and_another_kind_are_refused(root):
    for change, says in (
        (dict(nuisance="none"), "'mild' there and 'none' here"),
        (dict(kind="cardiac"), "'retina' there and 'cardiac' here"),
        (dict(kind="retinal"), 'Did you mean "retina"'),
    ):
        with pytest.raises(UserError, match=says):
            phantom.write(root, **SETTINGS | change, progress=False)


def test_command_line(tmp_path):
    command = [sys.executable, "-m", "tvrl_jax.data.phantom", "--kind=retina"]
    settings = [f"--out={tmp_path / 'x'}", "--subjects=2", "--size=32"]
    done = subprocess.run([*command, *settings], capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "x" / "phantom.json").exists(), done.stderr


def test_workers_import_no_jax():
    code = "import sys, tvrl_jax.data.phantom.writing; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
