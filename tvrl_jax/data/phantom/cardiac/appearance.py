"""What differs between subjects without meaning anything: pose, scale, contrast, coil and noise."""

from typing import NamedTuple

import numpy as np

FIELD_MM = 180.0  # side of the picture
GAIN = 400.0  # stored number for the signal of blood

# Signal of balanced steady-state free precession, blood = 1.
TISSUE = {
    "blood": 1.0,
    "muscle": 0.40,  # myocardium
    "mediastinum": 0.62,  # fat about the heart
    "lung": 0.10,
    "fat": 0.85,  # under the skin
    "chest": 0.33,  # skeletal muscle
    "liver": 0.50,
    "spleen": 0.58,
    "bone": 0.45,
    "air": 0.02,
}
# Relative differences of three scanners, scaled by Strength.contrast.
SCANNERS = {
    "A": {},
    "B": {"muscle": 0.20, "liver": -0.15, "fat": 0.10},
    "C": {"muscle": -0.15, "mediastinum": -0.25, "liver": 0.20, "chest": 0.15},
}


class Strength(NamedTuple):
    """How far subjects differ in each respect; standard deviations unless said otherwise."""

    rotation: float  # degrees
    shift: float  # mm
    scale: float  # of the field of view, uniform in 1 -+ this
    contrast: float  # 1 = the scanners' differences in full, and 5 % of each tissue
    gain: float  # of the stored numbers, uniform in 1 -+ this
    bias: float  # of the coil's sensitivity across half the field
    organs: float  # mm of place and of size of everything about the heart
    vessels: int  # number of bright dots in the lungs, a texture of the subject's own
    noise: tuple[float, float]  # of the two channels, share of the blood's signal: range


STRENGTHS = {
    "none": Strength(0, 0, 0, 0, 0, 0, 0, 0, (0, 0)),
    "mild": Strength(10, 4, 0.04, 1, 0.3, 0.08, 4, 0, (0.02, 0.05)),
    "strong": Strength(40, 10, 0.15, 2, 0.6, 0.20, 9, 30, (0.04, 0.12)),
}


class Appearance(NamedTuple):
    scanner: str
    spacing: float  # mm per pixel, exact in float32
    rotation: float  # degrees, of the whole picture
    tilt: float  # degrees, of the heart in the chest
    shift: tuple[float, float]  # mm
    signal: dict[str, float]  # of each tissue
    gain: float
    bias: tuple[float, ...]  # of x, y, xx, xy, yy over half the field
    organs: np.ndarray  # mm, 32 displacements that background.py spends
    vessels: np.ndarray  # [n, 3]: x, y, radius in mm
    noise: float  # standard deviation of each channel, blood = 1


def draw_appearance(rng: np.random.Generator, size: int, nuisance: str) -> Appearance:
    """`nuisance` is a key of STRENGTHS; at "none" every draw is multiplied by zero."""
    s = STRENGTHS[nuisance]
    scanner = "ABC"[rng.integers(3)] if s.contrast else "A"
    field = FIELD_MM * (1 + s.scale * rng.uniform(-1, 1))
    bias = s.bias * rng.standard_normal(5)
    return Appearance(
        scanner=scanner,
        spacing=float(np.float32(field / size)),
        rotation=s.rotation * rng.standard_normal(),
        tilt=0.5 * s.rotation * rng.standard_normal(),
        shift=tuple((s.shift * np.clip(rng.standard_normal(2), -2, 2)).tolist()),
        signal=_signal(rng, SCANNERS[scanner], s.contrast),
        gain=GAIN * (1 + s.gain * rng.uniform(-1, 1)),
        bias=tuple((bias * np.array([1, 1, 0.4, 0.4, 0.4])).tolist()),
        organs=s.organs * np.clip(rng.standard_normal(32), -2, 2),
        vessels=_vessels(rng, s.vessels),
        noise=rng.uniform(*s.noise),
    )


def _signal(rng: np.random.Generator, scanner: dict, contrast: float) -> dict[str, float]:
    own = 0.05 * np.clip(rng.standard_normal(len(TISSUE)), -2, 2)
    return {
        name: value * max(1 + contrast * (scanner.get(name, 0.0) + o), 0.2)
        for (name, value), o in zip(TISSUE.items(), own.tolist(), strict=True)
    }


def _vessels(rng: np.random.Generator, count: int) -> np.ndarray:
    place = rng.uniform((-85, -45), (85, 90), (count, 2))  # below the chest wall
    return np.concatenate([place, rng.uniform(1.5, 4.0, (count, 1))], axis=1)
