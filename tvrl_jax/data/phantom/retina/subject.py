"""One patient: the numbers of one or two eyes for the table, and the pictures that show them."""

from typing import NamedTuple

import numpy as np

from tvrl_jax.data.phantom.retina.appearance import DEPTH_MM, Appearance, draw_appearance
from tvrl_jax.data.phantom.retina.disease import Disease, draw_diseases, neovascular_share
from tvrl_jax.data.phantom.retina.eye import Eye, draw_eye
from tvrl_jax.data.phantom.retina.layers import LAYERS, Scans, scans
from tvrl_jax.data.phantom.retina.picture import pictures as drawn
from tvrl_jax.data.phantom.retina.vision import acuity
from tvrl_jax.data.phantom.retina.visits import Visits, draw_visits
from tvrl_jax.data.phantom.streams import (
    EYE_BUILD,
    EYE_LOOK,
    EYE_SPECKLE,
    RETINA_PATIENT,
    RETINA_SPLIT,
    RETINA_VISITS,
    stream,
)

SIDES = ("OD", "OS")  # right, left
BOTH = 0.45  # share of patients of whom both eyes are in the cohort
HORIZON = 3.0  # years after the last visit in which a conversion is foreseen
SPLITS = ("train",) * 14 + ("val",) * 3 + ("test",) * 3  # of each block of 20 patients


class Series(NamedTuple):
    """One eye of a patient: everything but the pixels."""

    number: int  # of the eye: twice the patient's, plus 1 for a left eye
    disease: Disease
    eye: Eye
    look: Appearance
    letters: float  # visual acuity at the last visit


class Patient(NamedTuple):
    name: str
    split: str
    age: float  # at the first visit
    male: bool
    visits: Visits
    series: tuple[Series, ...]


def draw(seed: int, index: int, *, nuisance: str) -> Patient:
    """Depends on the arguments only, not on the other patients."""
    rng = stream(seed, RETINA_PATIENT, index)
    last_age = float(np.clip(rng.normal(76, 7), 58, 95))
    male, both, first = rng.random() < 0.42, rng.random() < BOTH, int(rng.integers(2))
    luck = rng.standard_normal(2).tolist()
    diseases = draw_diseases(rng, last_age)
    visits = draw_visits(stream(seed, RETINA_VISITS, index))
    series = tuple(
        _series(seed, 2 * index + side, diseases[side], visits, last_age, luck[side], nuisance)
        for side in ((0, 1) if both else (first,))
    )
    age = last_age - float(visits.years[-1])
    return Patient(f"p{index:05d}", split(seed, index), age, male, visits, series)


def split(seed: int, index: int) -> str:
    """70/15/15 %, exact in every block of 20 patients; a longer cohort begins with the shorter."""
    order = stream(seed, RETINA_SPLIT, index // len(SPLITS)).permutation(len(SPLITS))
    return SPLITS[order[index % len(SPLITS)]]


def _series(seed, number, disease: Disease, visits: Visits, age, luck, nuisance) -> Series:
    eye = draw_eye(stream(seed, EYE_BUILD, number), disease.trait, nasal=1 - 2 * (number % 2))
    look = draw_appearance(stream(seed, EYE_LOOK, number), len(visits.years), len(LAYERS), nuisance)
    return Series(number, disease, eye, look, acuity(disease, eye, age, luck))


def scans_of(patient: Patient, series: Series, size: int) -> Scans:
    """Borders of all visits of one eye."""
    time_V = patient.visits.years - patient.visits.years[-1]
    return scans(series.disease, series.eye, series.look, time_V, size)


def pictures(patient: Patient, series: Series, size: int, seed: int) -> np.ndarray:
    """uint8 [V, size, size]."""
    rng = stream(seed, EYE_SPECKLE, series.number)
    return drawn(scans_of(patient, series, size), series.eye, series.look, rng)


def prognosis(disease: Disease, follow_up: float) -> dict:
    """What is known at the last visit and behind it; None where there is nothing to know.

    `follow_up`: years from the last visit to the end of the registry. Years are rounded first, so
    that every column follows from those in the table.
    """
    years, kind = round(disease.conversion, 3), ("atrophy", "neovascular")[disease.neovascular]
    late, seen = years <= 0, 0 < years <= follow_up
    soon = seen and years <= HORIZON
    known = not late and (soon or follow_up >= HORIZON)
    return {
        "late": int(late),
        "convert_3y": int(soon) if known else None,
        "convert_3y_atrophy": int(soon and not disease.neovascular) if known else None,
        "convert_3y_neovascular": int(soon and disease.neovascular) if known else None,
        "duration": None if late else min(years, follow_up),
        "event": None if late else int(seen),
        "event_kind": kind if seen else None,
        "late_kind": kind if late else None,
    }


def rows(patient: Patient, size: int) -> list[dict]:
    """The patient's lines of cohort.csv, one per image; labels are repeated along a series."""
    return [line for series in patient.series for line in _rows(patient, series, size)]


def _rows(patient: Patient, series: Series, size: int) -> list[dict]:
    side, disease = SIDES[series.number % 2], series.disease
    labels = prognosis(disease, patient.visits.follow_up) | {
        "va": series.letters,
        "age": round(patient.age, 1),
        "sex": "M" if patient.male else "F",
        "site": series.look.scanner,
        "spacing_mm": round(series.look.width_mm / size, 5),
        "depth_mm": round(DEPTH_MM / size, 5),
        "visits": len(patient.visits.years),
        "rate": round(disease.rate, 3),
        "drusen_um": round(disease.height, 2),
        "neovascular_share": round(float(neovascular_share(disease.trait)), 4),
    }
    return [
        {
            "subject": patient.name,
            "eye": side,
            "path": f"images/{patient.name}_{side}_v{v:02d}.png",
            "years": year,
            "split": patient.split,
        }
        | labels
        for v, year in enumerate(patient.visits.years.tolist())
    ]
