"""The build of one eye: its layers, pit, drusen and where it will convert. Lengths in mm."""

from typing import NamedTuple

import numpy as np

NARROWEST, WIDEST = 0.20, 0.55  # half widths of a druse
REACH = 2.2  # drusen lie within this of the fovea, either side


class Eye(NamedTuple):
    nasal: int  # 1 where the optic disc is on the right of the scan (right eyes), else -1
    pit_width: float
    pit_depth: float  # 1 = the inner layers vanish at the fovea
    druse_x: np.ndarray  # [D], centres, from the fovea
    druse_width: np.ndarray  # [D], half widths
    druse_share: np.ndarray  # [D], height of its peak over the mean height
    druse_plane: np.ndarray  # [D], how far its own centre lies beside the plane of the scan
    foci: np.ndarray  # [F, 2], bright dots: centre, height above the pigment epithelium
    lesion_x: float  # centre of the late lesion, at one of the larger drusen
    lesion_growth: float  # mm per year, of the half width of atrophy
    lesion_size: float  # relative size of a neovascular lesion
    cysts: np.ndarray  # [C, 3]: centre from the lesion's, height in the retina (0 to 1), radius


def draw_eye(rng: np.random.Generator, trait: float, nasal: int) -> Eye:
    """`trait` of the disease makes drusen broad and few, or narrow and many with bright foci."""
    count = int(np.clip(np.rint(9 * np.exp(-0.25 * trait) + 1.2 * rng.standard_normal()), 4, 14))
    edges = np.linspace(-REACH, REACH, count + 1)
    x = (edges[:-1] + edges[1:]) / 2 + rng.uniform(-0.3, 0.3, count) * (2 * REACH / count)
    width = 0.30 * np.exp(0.25 * trait) * np.exp(0.2 * rng.standard_normal(count))
    width = np.clip(width, NARROWEST, WIDEST)
    share = np.exp(0.25 * rng.standard_normal(count)) * width * (1.2 - 0.3 * np.abs(x) / REACH)
    share = share / share.mean()
    foci = int(rng.poisson(np.clip(2.5 - 2.2 * trait, 0.1, 6)))
    central = np.argsort(np.abs(x))[: max(count // 2, 2)]
    return Eye(
        nasal=nasal,
        pit_width=float(np.clip(rng.normal(0.75, 0.1), 0.5, 1.0)),
        pit_depth=float(np.clip(rng.normal(0.9, 0.06), 0.7, 1.0)),
        druse_x=x,
        druse_width=width,
        druse_share=share,
        druse_plane=rng.uniform(-0.4, 0.4, count) * width,
        foci=np.stack([rng.uniform(-REACH, REACH, foci), rng.uniform(0.03, 0.13, foci)], axis=1),
        lesion_x=float(x[central[share[central].argmax()]]),
        lesion_growth=float(0.2 * np.exp(0.3 * rng.standard_normal())),
        lesion_size=float(np.exp(0.2 * rng.standard_normal())),
        cysts=rng.uniform((-0.7, 0.35, 0.05), (0.7, 0.7, 0.11), (4, 3)),
    )


def bump(u2):
    """A smooth dome of height 1 whose rim is at u^2 = 1."""
    return np.maximum(1 - u2, 0) ** 2


def druse_profile(
    eye: Eye, x_VW: np.ndarray, plane_V: np.ndarray, spread: float = 0.0
) -> np.ndarray:
    """Elevation of the pigment epithelium for a mean height of 1 [V, W].

    `x_VW` counts from the fovea. A scan `plane_V` mm beside its nominal plane cuts every druse
    elsewhere; in the nominal plane a peak is druse_share high. `spread` mm make each dome wider
    and lower, with the same area: how softer layers feel it.
    """
    width_D, plane_DV = eye.druse_width, plane_V[None, :] - eye.druse_plane[:, None]
    cut_DV = bump((plane_DV / width_D[:, None]) ** 2)
    nominal_D = bump((eye.druse_plane / width_D) ** 2)
    wide_D = width_D + spread
    peak_DV = cut_DV * (eye.druse_share * width_D / (wide_D * nominal_D))[:, None]
    dome_DVW = bump(((x_VW[None] - eye.druse_x[:, None, None]) / wide_D[:, None, None]) ** 2)
    return (peak_DV[:, :, None] * dome_DVW).sum(axis=0)
