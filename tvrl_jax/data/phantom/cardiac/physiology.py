"""One patient's numbers: size, function, rate, wall and disease, drawn with their correlations."""

from typing import NamedTuple

import numpy as np

# Centres of the territories of the left anterior descending, the circumflex and the right coronary
# artery in a mid-ventricular slice; degrees from the lateral wall towards the inferior wall.
TERRITORIES = (-115.0, 15.0, 105.0)


class Sector(NamedTuple):
    """The part of the wall that coronary disease weakens."""

    centre_deg: float
    half_width_deg: float  # fully affected on either side of the centre
    severity: float  # 1 = does not move at all, 0 = healthy


class Patient(NamedTuple):
    male: bool
    age: float  # years
    edv: float  # end-diastolic volume, ml
    ef: float  # ejection fraction of the healthy muscle, 0 to 1; a weak sector lowers the measured
    hr: float  # beats per minute
    late: float  # share of the filling that the atrium adds
    wall: float  # mean end-diastolic wall thickness, mm
    elongation: float  # length of the cavity / radius of its middle, at end-diastole
    cos2: float  # of the cavity's outline: r = r0 (1 + cos2 cos 2a + sin2 sin 2a)
    sin2: float
    papillary_deg: tuple[float, float]
    sector: Sector | None
    af: bool


def draw_sector(rng: np.random.Generator) -> Sector:
    """About two of the six mid-ventricular segments, hypokinetic to akinetic."""
    centre = TERRITORIES[rng.integers(3)] + rng.uniform(-15, 15)
    return Sector(centre, rng.uniform(30, 50), rng.uniform(0.75, 1.0))


def draw_patient(rng: np.random.Generator, *, cad: bool, af: bool) -> Patient:
    """Means after Petersen et al. 2017 (J Cardiovasc Magn Reson 19:18), spreads widened.

    A larger heart ejects a slightly smaller fraction and beats slightly slower. Neither disease
    changes size, rate or shape at end-diastole, so that it shows in the motion only, and
    fibrillation in the ghosts of beats that differ.
    """
    male = bool(rng.random() < 0.5)
    age = rng.uniform(45, 75)
    big, function, rate, muscle = rng.standard_normal(4)
    sector = draw_sector(rng)  # drawn for everybody: later draws do not depend on the disease
    return Patient(
        male=male,
        age=age,
        edv=float(np.clip((164 if male else 128) * (1 + 0.25 * big), 75, 280)),
        ef=float(np.clip((0.59 if male else 0.61) + 0.08 * function - 0.012 * big, 0.36, 0.76)),
        hr=float(np.clip(70 + 12 * rate - 1.5 * big, 45, 115)),
        late=0.0 if af else float(np.clip(rng.normal(0.25 + 0.005 * (age - 45), 0.04), 0.15, 0.5)),
        wall=float(np.clip((7.8 if male else 6.8) + 0.9 * muscle, 5.0, 11.0)),
        elongation=rng.normal(3.9, 0.1),
        cos2=rng.normal(0.0, 0.025),
        sin2=rng.normal(0.0, 0.025),
        papillary_deg=(rng.normal(-38, 8), rng.normal(128, 8)),
        sector=sector if cad else None,
        af=af,
    )
