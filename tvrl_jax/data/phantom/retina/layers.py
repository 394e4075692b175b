"""Where the layers of an eye lie in its scans: the borders that are drawn, and a map of labels."""

from typing import NamedTuple

import numpy as np

from tvrl_jax.data.phantom.retina.appearance import DEPTH_MM, Appearance
from tvrl_jax.data.phantom.retina.disease import Disease, height_at
from tvrl_jax.data.phantom.retina.eye import Eye, druse_profile
from tvrl_jax.data.phantom.retina.late import Late, late_disease

BRUCH_MM = 0.80  # depth of Bruch's membrane in the middle of the picture
SPREAD_MM, FELT = 0.30, 0.7  # how the inner retina feels a druse: more widely, and less
# From Bruch's membrane upwards; what lies between two borders.
LAYERS = (
    "drusen", "detachment", "scar", "epithelium", "fluid", "interdigitation", "ellipsoid",
    "myoid", "outer_nuclear", "outer_plexiform", "inner_nuclear", "ganglion", "nerve_fibre",
)  # fmt: skip
LABELS = {
    "vitreous": 0,
    "retina": 1,
    "epithelium": 2,
    "drusen": 3,
    "fluid": 4,
    "scar": 5,
    "choroid": 6,
}


class Scans(NamedTuple):
    """The scans of one eye, its visits along V."""

    x_VW: np.ndarray  # mm from the fovea, of each column
    z_H: np.ndarray  # mm, of each row; downwards
    border_KVW: np.ndarray  # mm: Bruch's membrane, then the upper border of each layer
    grown_V: np.ndarray  # how far what comes with drusen is there, 0 to 1
    late: Late


def scans(disease: Disease, eye: Eye, look: Appearance, time_V: np.ndarray, size: int) -> Scans:
    """`time_V` in years after the last visit."""
    column_W = (np.arange(size) - (size - 1) / 2) * (look.width_mm / size)
    x_VW = column_W[None] - look.shift_V[:, None]
    bruch_VW = BRUCH_MM + look.depth_V[:, None] + look.tilt_V[:, None] * column_W
    bruch_VW = bruch_VW - look.curvature * column_W**2
    late = late_disease(disease, eye, x_VW, time_V)
    height_V1 = height_at(disease, time_V)[:, None] / 1000
    drusen = height_V1 * druse_profile(eye, x_VW, look.plane_V)
    felt = FELT * height_V1 * druse_profile(eye, x_VW, look.plane_V, SPREAD_MM)
    thick = thicknesses(eye, look, x_VW, drusen, felt, late)
    up = np.cumsum(np.stack([thick[name] for name in LAYERS]), axis=0)
    border_KVW = np.concatenate([bruch_VW[None], bruch_VW - up])
    z_H = (np.arange(size) + 0.5) * (DEPTH_MM / size)
    return Scans(x_VW, z_H, border_KVW, np.minimum(height_V1[:, 0] / 0.05, 1), late)


def thicknesses(eye: Eye, look: Appearance, x_VW, drusen, felt, late: Late) -> dict:
    """mm [V, W] of each of LAYERS, by name.

    The outer nuclear layer gives way to what lifts the pigment epithelium (`drusen`), so that the
    inner retina rises by the softer `felt` as long as there is room. Atrophy and scar take the
    photoreceptors and what feeds them, and drusen collapse there.
    """
    nasal = np.clip(eye.nasal * x_VW, -2.5, 2.5)
    u2 = (x_VW / eye.pit_width) ** 2
    pit = eye.pit_depth / (1 + u2) ** 2
    rim = 4 * u2 / (1 + u2) ** 2
    drusen, felt = drusen * (1 - late.collapse), felt * (1 - 0.6 * late.collapse)
    kept = (1 - late.atrophy) * (1 - 0.9 * late.scarred)
    outer = (0.075 + 0.035 * pit) * look.thickness * (0.25 + 0.75 * kept)
    squeezed = np.maximum(outer + felt - drusen - 0.5 * late.detachment, 0.25 * outer)
    retina = {
        "interdigitation": 0.018 * kept,
        "ellipsoid": 0.020 * kept,
        "myoid": 0.024 * kept,
        "outer_nuclear": squeezed,
        "outer_plexiform": 0.030 * look.thickness * (1 - 0.8 * pit),
        "inner_nuclear": 0.038 * look.thickness * (1 - 0.95 * pit),
        "ganglion": look.thickness * (0.065 * (1 - pit) + 0.035 * rim),
        "nerve_fibre": look.thickness * (1 - pit) * (0.028 + 0.006 * nasal),
    }
    return retina | {
        "drusen": drusen,
        "detachment": late.detachment,
        "scar": late.scar,
        "epithelium": 0.028 * (1 - 0.9 * late.atrophy) * (1 - late.scarred),
        "fluid": late.fluid,
    }


def label_map(s: Scans) -> np.ndarray:
    """uint8 [V, H, W], one of LABELS for each pixel's centre; without cysts, vessels or speckle."""
    names = {name: "retina" for name in LAYERS} | {
        "drusen": "drusen",
        "detachment": "scar",
        "scar": "scar",
        "epithelium": "epithelium",
        "fluid": "fluid",
    }
    shape = (s.x_VW.shape[0], s.z_H.size, s.x_VW.shape[1])
    label_VHW = np.full(shape, LABELS["choroid"], np.uint8)
    for k, border_VW in enumerate(s.border_KVW):
        what = LABELS[names[LAYERS[k]]] if k < len(LAYERS) else LABELS["vitreous"]
        label_VHW[s.z_H[None, :, None] < border_VW[:, None, :]] = what
    return label_VHW
