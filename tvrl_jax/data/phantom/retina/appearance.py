"""What differs between eyes, and between visits of one eye, without meaning anything."""

from typing import NamedTuple

import numpy as np

WIDTH_MM, DEPTH_MM = 6.0, 1.28  # of a scan
# Relative to the first: contrast (power), brightness and the number of averaged frames.
SCANNERS = {"A": (1.0, 1.0, 1.0), "B": (0.85, 1.1, 0.6), "C": (1.2, 0.9, 1.5)}
GRAIN = (9, 24)  # cells of the choroid's own texture: deep, wide


class Strength(NamedTuple):
    """How far eyes (and visits) differ in each respect; standard deviations unless said so."""

    thickness: float  # of the retina, relative
    choroid: float  # relative
    curvature: float  # 1/mm
    tilt: float  # mm per mm
    depth: float  # mm, of the retina in the picture
    centre: float  # mm, of the fovea from the middle of the picture
    scale: float  # of the width of the scan, uniform in 1 -+ this
    contrast: float  # 1 = the scanners' differences in full, and 10 % of each layer
    brightness: float  # relative, uniform in 1 -+ 1.5 times this
    vessels: int  # largest number of shadows
    grain: float  # of the choroid's texture, relative
    looks: tuple[float, float]  # averaged frames: range; none = no speckle at all
    visit_shift: float  # mm along the scan, new at each visit
    visit_plane: float  # mm beside the scan
    visit_tilt: float  # mm per mm
    visit_depth: float  # mm
    visit_brightness: float  # relative


STRENGTHS = {
    "none": Strength(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (0, 0), 0, 0, 0, 0, 0),
    "mild": Strength(
        0.07, 0.25, 0.006, 0.02, 0.05, 0.25, 0.04, 1, 0.12, 4, 0.12, (5, 16),
        0.06, 0.02, 0.008, 0.025, 0.07,
    ),
    "strong": Strength(
        0.12, 0.40, 0.012, 0.05, 0.09, 0.50, 0.12, 2, 0.25, 8, 0.25, (2, 10),
        0.15, 0.05, 0.02, 0.05, 0.15,
    ),
}  # fmt: skip


class Appearance(NamedTuple):
    """Of an eye; what ends in _V is one number per visit."""

    scanner: str
    width_mm: float
    thickness: float
    choroid: float
    curvature: float
    contrast: float
    layers: np.ndarray  # relative brightness of each layer
    vessels: np.ndarray  # [n, 3]: x from the fovea, half width in mm, shadow
    grain: np.ndarray  # [GRAIN], relative brightness of the choroid
    looks: float  # 0 = no speckle
    shift_V: np.ndarray  # mm, of the fovea from the middle
    plane_V: np.ndarray  # mm
    tilt_V: np.ndarray
    depth_V: np.ndarray  # mm
    brightness_V: np.ndarray


def draw_appearance(
    rng: np.random.Generator, visits: int, layers: int, nuisance: str
) -> Appearance:
    """`nuisance` is a key of STRENGTHS; at "none" every draw is multiplied by zero."""
    s = STRENGTHS[nuisance]
    normal = lambda *shape: np.clip(rng.standard_normal(shape), -2, 2)  # noqa: E731
    scanner = "ABC"[rng.integers(3)] if s.contrast else "A"
    contrast, brightness, frames = (1 + s.contrast * (v - 1) for v in SCANNERS[scanner])
    own, looks = normal(6), rng.uniform(*s.looks) * max(frames, 0.5)
    scale, layer = rng.uniform(-1, 1), 0.10 * s.contrast * normal(layers)
    vessels = _vessels(rng, s.vessels)
    grain = np.maximum(1 + s.grain * normal(*GRAIN), 0.2)
    brightness *= 1 + s.brightness * rng.uniform(-1.5, 1.5)
    bright, shift, plane, tilt, depth = normal(5, visits)  # last: more visits change nothing else
    return Appearance(
        scanner=scanner,
        width_mm=WIDTH_MM * (1 + s.scale * scale),
        thickness=1 + s.thickness * own[0],
        choroid=max(1 + s.choroid * own[1], 0.4),
        curvature=s.curvature * own[2],
        contrast=max(contrast, 0.5),
        layers=1 + layer,
        vessels=vessels,
        grain=grain,
        looks=looks,
        shift_V=s.centre * own[3] + s.visit_shift * shift,
        plane_V=s.visit_plane * plane,
        tilt_V=s.tilt * own[4] + s.visit_tilt * tilt,
        depth_V=s.depth * own[5] + s.visit_depth * depth,
        brightness_V=brightness * (1 + s.visit_brightness * bright),
    )


def _vessels(rng: np.random.Generator, most: int) -> np.ndarray:
    count = int(rng.integers(most // 2, most + 1)) if most else 0
    return rng.uniform((-2.9, 0.04, 0.2), (2.9, 0.11, 0.5), (count, 3))
