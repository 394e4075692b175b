"""From borders to what a scanner shows: brightness of layers, shadows, speckle, 8 bits.

Per pixel there are only sums, products, quotients and square roots, which are rounded the same on
every machine.
"""

import numpy as np

from tvrl_jax.data.phantom.raster import cover
from tvrl_jax.data.phantom.retina.appearance import DEPTH_MM, GRAIN, Appearance
from tvrl_jax.data.phantom.retina.eye import Eye
from tvrl_jax.data.phantom.retina.layers import LAYERS, Scans

# As displayed: the fourth root of the intensity, which is close to the usual logarithm.
BRIGHTNESS = {
    "drusen": 0.50,
    "detachment": 0.42,
    "scar": 0.90,
    "epithelium": 0.95,
    "fluid": 0.16,
    "interdigitation": 0.60,
    "ellipsoid": 0.86,
    "myoid": 0.36,
    "outer_nuclear": 0.32,
    "outer_plexiform": 0.56,
    "inner_nuclear": 0.38,
    "ganglion": 0.55,
    "nerve_fibre": 0.82,
}
VITREOUS, CHOROID, SCLERA, DARK = 0.16, 0.62, 0.48, 0.14
CHOROID_MM = 0.22
CYST, FOCUS = 0.14, 1.0


def pictures(s: Scans, eye: Eye, look: Appearance, rng: np.random.Generator) -> np.ndarray:
    """uint8 [V, size, size] of the scans, with speckle from `rng`."""
    z = s.z_H[None, :, None].astype(np.float32)
    border_KVW = s.border_KVW.astype(np.float32)
    edge = 1.25 * DEPTH_MM / s.z_H.size
    image = _below(s, look, z, border_KVW[0])
    level = [BRIGHTNESS[name] * b for name, b in zip(LAYERS, look.layers.tolist(), strict=True)]
    for border_VW, upper in zip(border_KVW, [*level, VITREOUS], strict=True):
        share = cover(z - border_VW[:, None], edge)  # above this border
        image += share * (np.float32(upper) - image)
    _spots(image, s, eye, z)
    image *= _shadows(s, look, z)
    return _displayed(image, look, rng)


def _below(s: Scans, look: Appearance, z, bruch_VW) -> np.ndarray:
    """Choroid and sclera: light decays with depth, and more of it arrives through atrophy."""
    depth = np.maximum(z - bruch_VW[:, None], 0)
    arrives = 0.75 + 0.6 * s.late.atrophy - 0.25 * s.late.scarred
    arrives = np.maximum(arrives - 1.2 * s.late.detachment, 0.3).astype(np.float32)[:, None]
    thick = np.float32(CHOROID_MM * look.choroid)
    base = np.where(depth < thick, np.float32(CHOROID), np.float32(SCLERA))
    reach = np.float32(0.25) * arrives * arrives
    seen = arrives * base * _grain(s, look, depth) / (1 + (depth / (reach + 0.15)) ** 2)
    return (DARK + seen * np.float32(1 - DARK)).astype(np.float32)


def _grain(s: Scans, look: Appearance, depth) -> np.ndarray:
    """The eye's own texture of the choroid, bilinear between its cells [V, H, W]."""
    deep, wide = GRAIN
    i = np.minimum(depth * np.float32(1 / 0.05), deep - 1.001)
    j = np.clip((s.x_VW + 3.5) * (wide / 7.0), 0, wide - 1.001).astype(np.float32)[:, None]
    i0, j0 = i.astype(np.int32), j.astype(np.int32)
    fi, fj, g = i - i0, j - j0, look.grain.astype(np.float32)
    top = g[i0, j0] * (1 - fj) + g[i0, j0 + 1] * fj
    return top * (1 - fi) + (g[i0 + 1, j0] * (1 - fj) + g[i0 + 1, j0 + 1] * fj) * fi


def _spots(image, s: Scans, eye: Eye, z) -> None:
    """Bright foci over the pigment epithelium, and dark cysts while the disease is active."""
    top = s.border_KVW[1 + LAYERS.index("epithelium")]
    inner = s.border_KVW[-1]
    for x, up in eye.foci.tolist():
        _dot(image, s, z, x, _at(s, top, x) - up, 0.06, 0.022, s.grown_V, FOCUS)
    if s.late.active.any():
        outer = s.border_KVW[1 + LAYERS.index("myoid")]
        for off, height, radius in eye.cysts.tolist():
            x = eye.lesion_x + off
            middle = _at(s, outer, x) * (1 - height) + _at(s, inner, x) * height
            _dot(image, s, z, x, middle, 1.6 * radius, 0.5 * radius, s.late.active, CYST)


def _at(s: Scans, border_VW, x: float) -> np.ndarray:
    """Height of a border at x mm from the fovea, [V]: at the nearest column."""
    column_V = np.abs(s.x_VW - x).argmin(axis=1)
    return np.take_along_axis(border_VW, column_V[:, None], axis=1)[:, 0]


def _dot(image, s: Scans, z, x, depth_V, half_x, half_z, strength_V, level) -> None:
    u2 = ((s.x_VW - x) / half_x) ** 2
    w2 = ((z - depth_V[:, None, None].astype(np.float32)) / np.float32(half_z)) ** 2
    share = np.clip(np.float32(1.5) * (1 - u2[:, None].astype(np.float32) - w2), 0, 1)
    share *= strength_V[:, None, None].astype(np.float32)
    image += share * (np.float32(level) - image)


def _shadows(s: Scans, look: Appearance, z) -> np.ndarray:
    """Vessels of the inner retina darken what lies below them."""
    light = np.ones((*z.shape[:2], s.x_VW.shape[1]), np.float32) + 0 * s.x_VW[:, None].astype("f4")
    under = cover(s.border_KVW[-3][:, None].astype(np.float32) - z, 0.03)
    for x, half, dark in look.vessels.tolist():
        column = np.clip(1.5 - np.abs(s.x_VW - x) / half, 0, 1).astype(np.float32)[:, None]
        light -= light * under * column * np.float32(dark)
    return light


def _displayed(image, look: Appearance, rng: np.random.Generator) -> np.ndarray:
    """Speckle is a gamma-distributed intensity: the mean of `looks` exponential ones."""
    if look.looks:
        grains = rng.standard_gamma(look.looks, image.shape, dtype=np.float32)
        image = image * np.sqrt(np.sqrt(grains * np.float32(1 / look.looks)))
    middle = np.float32(0.45)
    image = middle + (image - middle) * np.float32(look.contrast)
    image = image * look.brightness_V[:, None, None].astype(np.float32)
    return np.clip(np.rint(image * np.float32(240)), 0, 255).astype(np.uint8)
