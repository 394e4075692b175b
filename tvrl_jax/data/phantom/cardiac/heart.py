"""What moves: both ventricles, painted for all frames at once."""

import math
from typing import NamedTuple

import numpy as np

from tvrl_jax.data.phantom.cardiac.anatomy import Ventricle, mobility, outline
from tvrl_jax.data.phantom.raster import Plane, cover, ellipse, paint

PAPILLARY_MM = 3.6  # radius of a papillary muscle
PAPILLARY_DEPTH = 0.64  # its place, share of the cavity's radius
RIGHT_WALL_MM = 3.0
CHUNK = 10  # frames painted together: their arrays stay in the processor's cache


class Polar(NamedTuple):
    """Static fields [H, W] about the centre of the left ventricle, mm."""

    rho: np.ndarray
    rest: np.ndarray  # end-diastolic radius of the cavity in the pixel's direction
    slope: np.ndarray  # how much of it one unit of inward motion takes
    muscle: np.ndarray  # outer radius squared minus inner, which motion does not change


def polar(lv: Ventricle, p: Plane) -> Polar:
    """`p` is in the heart's axes: x to the lateral wall, y to the inferior wall."""
    rho = np.sqrt(p.x * p.x + p.y * p.y)
    safe = np.maximum(rho, np.float32(1e-3))
    ux, uy = p.x / safe, p.y / safe
    rest = outline(lv, ux, uy)
    muscle = lv.wall * (2 * rest + lv.wall)
    return Polar(rho, rest, rest * mobility(lv, ux, uy), muscle)


def borders(at: Polar, inward_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner and outer radius [T, H, W] in each pixel's direction.

    The wall keeps its area within every small angle, so it thickens where, and only where, the
    cavity's border moves inwards.
    """
    inner = at.rest - inward_T.astype(np.float32)[:, None, None] * at.slope
    outer = np.sqrt(inner * inner + at.muscle)
    return inner, outer


def labels(at: Polar, inward_T: np.ndarray) -> np.ndarray:
    """uint8 [T, H, W]: 1 cavity (papillary muscles included), 2 myocardium."""
    inner, outer = borders(at, inward_T)
    inside = at.rho < inner
    return np.where(inside, np.uint8(1), np.uint8(2) * (at.rho < outer))


def beating(lv: Ventricle, papillary_deg, p: Plane, back, signal: dict, inward_T) -> np.ndarray:
    """Signal [T, H, W] of the heart on its background [H, W]."""
    at = polar(lv, p)
    image = np.repeat(_pericardium(lv, p, back, signal)[None], len(inward_T), axis=0)
    for start in range(0, len(inward_T), CHUNK):
        part = slice(start, start + CHUNK)
        _right(image[part], lv, p, signal, inward_T[part])
        _left(image[part], lv, at, papillary_deg, p, signal, inward_T[part])
    return image


def _right_axes(lv: Ventricle, inward) -> tuple:
    """Centre x and half axes of the right ventricle, whose visible part is a crescent."""
    outer = lv.radius + lv.wall
    return -0.76 * outer, outer * (0.94 - 0.75 * inward), outer * (1.06 - 0.45 * inward)


def _pericardium(lv: Ventricle, p: Plane, back, signal: dict) -> np.ndarray:
    """Fat about both ventricles at their largest, so that a shrinking heart uncovers fat."""
    image, margin = back.copy(), 5.0
    outer = lv.radius + lv.wall + margin
    cx, a, b = _right_axes(lv, 0.0)
    shape = ellipse(p.x, p.y, cx, 0.0, a + RIGHT_WALL_MM + margin, b + RIGHT_WALL_MM + margin)
    shape = np.minimum(shape, np.sqrt(p.x * p.x + p.y * p.y) - outer)
    paint(image, cover(shape, p.edge), signal["mediastinum"])
    return image


def _right(image, lv: Ventricle, p: Plane, signal: dict, inward_T) -> None:
    inward = np.clip(inward_T, 0, 1).astype(np.float32)[:, None, None]
    cx, a, b = _right_axes(lv, inward)
    x, y = (p.x - cx) / a, p.y / b
    distance = (np.sqrt(x * x + y * y) - 1) * np.minimum(a, b)
    paint(image, cover(distance - RIGHT_WALL_MM, p.edge), signal["muscle"])
    paint(image, cover(distance, p.edge), signal["blood"])


def _left(image, lv, at: Polar, papillary_deg, p: Plane, signal: dict, inward_T) -> None:
    inner, outer = borders(at, inward_T)
    paint(image, cover(at.rho - outer, p.edge), signal["muscle"])
    blood = cover(at.rho - inner, p.edge)
    for degrees in papillary_deg:
        blood *= 1 - _papillary(lv, degrees, p, inward_T)
    paint(image, blood, signal["blood"])


def _papillary(lv: Ventricle, degrees: float, p: Plane, inward_T) -> np.ndarray:
    """Share of a papillary muscle [T, H, W]; it follows the wall that it stands on."""
    ux, uy = (np.array(f(math.radians(degrees))) for f in (math.cos, math.sin))
    rest, free = float(outline(lv, ux, uy)), float(mobility(lv, ux, uy))
    depth = (PAPILLARY_DEPTH * rest * (1 - inward_T * free)).astype(np.float32)[:, None, None]
    x, y = p.x - depth * float(ux), p.y - depth * float(uy)
    return cover(np.sqrt(x * x + y * y) - np.float32(PAPILLARY_MM), p.edge)
