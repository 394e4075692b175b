"""One subject: numbers for the table, and the pictures that show them."""

from typing import NamedTuple

import numpy as np

from tvrl_jax.data.phantom.cardiac import beats, heart, scanner
from tvrl_jax.data.phantom.cardiac.anatomy import Ventricle, cavity_area, inward, ventricle, volume
from tvrl_jax.data.phantom.cardiac.appearance import FIELD_MM, Appearance, draw_appearance
from tvrl_jax.data.phantom.cardiac.background import background, sensitivity
from tvrl_jax.data.phantom.cardiac.design import assign
from tvrl_jax.data.phantom.cardiac.physiology import Patient, draw_patient
from tvrl_jax.data.phantom.raster import plane, turned
from tvrl_jax.data.phantom.streams import APPEARANCE, BEATS, NOISE, PATIENT, stream


class Subject(NamedTuple):
    """Everything but the pixels."""

    name: str
    split: str
    patient: Patient
    lv: Ventricle
    look: Appearance
    interval: float  # seconds between frames, exact in float32 (as a NIfTI header stores it)
    inward_BT: np.ndarray  # inward motion of healthy wall per heartbeat
    volume_T: np.ndarray  # ml; what the mask of each frame encloses


def draw(seed: int, index: int, *, size: int, nuisance: str) -> Subject:
    """Depends on the arguments only, not on the other subjects."""
    role = assign(seed, index)
    patient = draw_patient(stream(seed, PATIENT, index), cad=role.cad, af=role.af)
    interval = float(np.float32(60 / patient.hr / beats.FRAMES))
    lv = ventricle(patient)
    inward_BT = inward(beats.emptied(patient, stream(seed, BEATS, index)), patient.ef)
    return Subject(
        name=f"s{index:05d}",
        split=role.split,
        patient=patient,
        lv=lv,
        look=draw_appearance(stream(seed, APPEARANCE, index), size, nuisance),
        interval=interval,
        inward_BT=inward_BT,
        volume_T=volume(lv, cavity_area(lv, inward_BT.mean(axis=0))),
    )


def pictures(subject: Subject, size: int, seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames int16 [T, size, size] and labels uint8 of the same shape."""
    look, lv = subject.look, subject.lv
    chest = plane(size, look.spacing, look.rotation, look.shift)
    own = turned(chest, look.tilt)
    back, coil = background(chest, look), sensitivity(chest, look, FIELD_MM / 2)
    beat_BTHW = [
        heart.beating(lv, subject.patient.papillary_deg, own, back, look.signal, inward_T) * coil
        for inward_T in subject.inward_BT
    ]
    real, imaginary = (
        scanner.interleaved(beat_BTHW) if len(beat_BTHW) > 1 else (beat_BTHW[0], np.float32(0))
    )
    signal = scanner.magnitude(real, imaginary, look.noise, stream(seed, NOISE, index))
    mask = heart.labels(heart.polar(lv, own), subject.inward_BT.mean(axis=0))
    return scanner.stored(signal, look.gain), mask


def row(subject: Subject) -> dict:
    """The subject's line of cohort.csv. Volumes are the largest and smallest of `volume_T`."""
    edv, esv = float(subject.volume_T.max()), float(subject.volume_T.min())
    hr = 60 / (subject.interval * beats.FRAMES)
    p, sector = subject.patient, subject.patient.sector
    return {
        "subject": subject.name,
        "path": f"images/{subject.name}.nii.gz",
        "mask": f"masks/{subject.name}.nii.gz",
        "split": subject.split,
        "LVEDV": round(edv, 3),
        "LVESV": round(esv, 3),
        "LVSV": round(edv - esv, 3),
        "LVEF": round(100 * (edv - esv) / edv, 3),
        "HR": round(hr, 3),
        "CO": round((edv - esv) * hr / 1000, 5),
        "CAD": int(sector is not None),
        "AF": int(p.af),
        "sex": "M" if p.male else "F",
        "age": round(p.age, 1),
        "site": subject.look.scanner,
        "spacing_mm": round(subject.look.spacing, 5),
        "area_mm2": round(subject.lv.area, 3),
        "length_mm": round(subject.lv.length, 3),
        "wall_mm": round(p.wall, 3),
        "sector_deg": round(sector.centre_deg, 2) if sector else None,
        "severity": round(sector.severity, 3) if sector else 0.0,
    }
