"""The left ventricle in a mid-ventricular slice: outline, motion, area and volume.

Directions are unit vectors (ux, uy): ux to the lateral wall, uy to the inferior wall. They come as
plain multiplications of those, without trigonometry, so that a pixel has the same bits everywhere.
"""

import math
from typing import NamedTuple

import numpy as np

from tvrl_jax.data.phantom.cardiac.physiology import Patient, Sector

# Length falls with area as L = L0 (A/A0)^SHORTENING, hence V = V0 (A/A0)^(1 + SHORTENING): an
# ejection fraction of 60 % is an area change of 53 % and a shortening of the long axis of 16 %.
SHORTENING = 0.23
RAMP_DEG = 30.0  # from fully weakened to healthy wall


class Ventricle(NamedTuple):
    radius: float  # mm, of the end-diastolic cavity before its ellipticity
    cos2: float
    sin2: float
    wall: float  # mm, end-diastolic
    sector: Sector | None
    area: float  # mm^2, end-diastolic cavity
    length: float  # mm, end-diastolic cavity


def ventricle(patient: Patient) -> Ventricle:
    """The cavity whose bullet volume V = 5/6 A L is the patient's, with L = elongation sqrt(A/pi).

    Bullet: a cylinder for half the length and half an ellipsoid (Folland et al. 1979, Circulation
    60:760).
    """
    area = (1200 * patient.edv * math.sqrt(math.pi) / patient.elongation) ** (2 / 3)
    length = patient.elongation * math.sqrt(area / math.pi)
    mean_square = 1 + (patient.cos2**2 + patient.sin2**2) / 2
    radius = math.sqrt(area / (math.pi * mean_square))
    return Ventricle(radius, patient.cos2, patient.sin2, patient.wall, patient.sector, area, length)


def outline(lv: Ventricle, ux, uy):
    """End-diastolic radius of the cavity in a direction, mm."""
    return lv.radius * (1 + lv.cos2 * (ux * ux - uy * uy) + (2 * lv.sin2) * (ux * uy))


def mobility(lv: Ventricle, ux, uy):
    """Share of the healthy inward motion that the wall makes in a direction: 1 without disease."""
    if lv.sector is None:
        return np.ones_like(ux)
    centre, half = math.radians(lv.sector.centre_deg), lv.sector.half_width_deg
    inner, outer = (math.cos(math.radians(half + d)) for d in (0.0, RAMP_DEG))
    toward = ux * math.cos(centre) + uy * math.sin(centre)
    x = np.clip((toward - outer) * (1 / (inner - outer)), 0, 1)
    return 1 - lv.sector.severity * (x * x * (3 - 2 * x))


def inward(emptied, ef: float):
    """Healthy wall's inward motion as a share of its radius, for volumes EDV (1 - ef emptied)."""
    return 1 - (1 - ef * emptied) ** (0.5 / (1 + SHORTENING))


def cavity_area(lv: Ventricle, inward_T: np.ndarray) -> np.ndarray:
    """Area in mm^2 [T] of the cavity r = outline (1 - inward mobility), exact in `inward`."""
    angle = np.arange(720) * (math.pi / 360)
    ux, uy = np.cos(angle), np.sin(angle)
    square, m = outline(lv, ux, uy) ** 2, mobility(lv, ux, uy)
    s0, s1, s2 = (float((square * m**k).mean()) * math.pi for k in range(3))
    return s0 - 2 * inward_T * s1 + inward_T**2 * s2


def volume(lv: Ventricle, area):
    """Cavity volume in ml from its mid-ventricular area in mm^2."""
    return (5 / 6 / 1000) * lv.length * area * (area / lv.area) ** SHORTENING
