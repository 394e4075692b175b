"""What does not move: the chest about the heart, painted once per subject."""

import numpy as np

from tvrl_jax.data.phantom.cardiac.appearance import Appearance
from tvrl_jax.data.phantom.raster import Plane, cover, ellipse, paint

# (tissue, x, y, half axes in mm) in painting order; the heart is at the origin, y points down.
ORGANS = (
    ("fat", -6, 52, 165, 132),
    ("chest", -6, 52, 155, 121),
    ("lung", -6, 50, 148, 111),
    ("liver", -58, 72, 62, 34),
    ("spleen", 66, 70, 26, 20),
    ("bone", -4, 88, 20, 17),
    ("blood", 30, 62, 10, 10),  # descending aorta
)


def background(p: Plane, look: Appearance) -> np.ndarray:
    """Signal [H, W], blood = 1. `p` is in the chest's axes."""
    image = np.full(p.x.shape, look.signal["air"], np.float32)
    moves = iter(look.organs.tolist())
    for tissue, x, y, a, b in ORGANS:
        dx, dy, grow = next(moves), next(moves), next(moves) / 4
        shape = ellipse(p.x, p.y, x + dx, y + dy, a + grow, b + grow)
        paint(image, cover(shape, p.edge), look.signal[tissue])
        if tissue == "lung":
            _vessels(image, p, look)
    return image


def _vessels(image: np.ndarray, p: Plane, look: Appearance) -> None:
    for x, y, radius in look.vessels.tolist():
        paint(image, cover(ellipse(p.x, p.y, x, y, radius, radius), p.edge), look.signal["liver"])


def sensitivity(p: Plane, look: Appearance, half_field: float) -> np.ndarray:
    """The coil's smooth gain [H, W]: a quadratic that is 1 in the middle of the heart."""
    x, y = p.x * np.float32(1 / half_field), p.y * np.float32(1 / half_field)
    bx, by, bxx, bxy, byy = look.bias
    gain = 1 + x * (bx + x * bxx + y * bxy) + y * (by + y * byy)
    return np.maximum(gain, np.float32(0.2))
