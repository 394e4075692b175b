"""Coordinates of pixels and soft-edged painting, in float32 and with IEEE arithmetic only.

Sums, products, quotients and square roots are rounded the same on every machine; sines and
exponentials are not, so none is taken per pixel.
"""

import math
from typing import NamedTuple

import numpy as np


class Plane(NamedTuple):
    """Pixel centres in mm: x to the right and y down, [H, W] each, and the width of an edge."""

    x: np.ndarray
    y: np.ndarray
    edge: float  # mm over which a boundary fades, a little more than a pixel


def plane(size: int, spacing: float, degrees: float, shift: tuple[float, float]) -> Plane:
    """A square picture whose origin lies at `shift` mm from its centre, turned by `degrees`."""
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(spacing)
    x, y = axis[None, :] - np.float32(shift[0]), axis[:, None] - np.float32(shift[1])
    return turned(Plane(x + 0 * y, y + 0 * x, 1.25 * spacing), degrees)


def turned(p: Plane, degrees: float) -> Plane:
    """The same pixels in axes that are rotated clockwise as seen on the screen."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Plane(c * p.x + s * p.y, c * p.y - s * p.x, p.edge)


def cover(distance: np.ndarray, edge: float) -> np.ndarray:
    """Share of a pixel inside a shape, from its signed distance in mm (negative inside)."""
    share = distance * np.float32(-1 / edge)
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def paint(image: np.ndarray, share: np.ndarray, signal: float) -> None:
    """Blends `signal` into `image` where `share` says so; both are overwritten."""
    share *= np.float32(signal) - image
    image += share


def ellipse(x, y, cx, cy, a, b) -> np.ndarray:
    """Approximate signed distance in mm to an axis-parallel ellipse with half axes a and b."""
    f = np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2)
    return (f - 1) * min(a, b)
