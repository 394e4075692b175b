"""What late disease looks like across a scan: atrophy, and neovascular disease and its scar."""

from typing import NamedTuple

import numpy as np

from tvrl_jax.data.phantom.retina.disease import Disease
from tvrl_jax.data.phantom.retina.eye import Eye, bump

FIRST = 0.32  # mm, half width of atrophy on the day of conversion
RIM = 0.15  # mm over which atrophy fades
SAG = 0.5  # mm beyond it over which drusen have collapsed too


class Late(NamedTuple):
    """Per visit and column, [V, W] each; all zero before conversion."""

    atrophy: np.ndarray  # 1 = no pigment epithelium, no photoreceptors
    collapse: np.ndarray  # 1 = drusen are gone
    detachment: np.ndarray  # mm, of the pigment epithelium by new vessels
    fluid: np.ndarray  # mm, beneath the neuroretina
    scar: np.ndarray  # mm, of bright tissue in place of the pigment epithelium
    scarred: np.ndarray  # 1 = the photoreceptors are lost above it
    active: np.ndarray  # [V], of cysts in the retina, 0 to 1


def ramp(x, start: float, stop: float):
    """0 up to `start`, 1 from `stop`, smooth between."""
    x = np.clip((x - start) / (stop - start), 0, 1)
    return x * x * (3 - 2 * x)


def late_disease(disease: Disease, eye: Eye, x_VW: np.ndarray, time_V: np.ndarray) -> Late:
    """`x_VW` in mm from the fovea, `time_V` in years after the last visit."""
    since_V = time_V - disease.conversion
    off_VW = x_VW - eye.lesion_x
    on_V1 = (since_V >= 0).astype(float)[:, None]
    none = np.zeros_like(x_VW)
    if not disease.neovascular:
        half = FIRST + eye.lesion_growth * np.maximum(since_V, 0)[:, None]
        atrophy = on_V1 * (1 - ramp(np.abs(off_VW), half - RIM / 2, half + RIM / 2))
        collapse = on_V1 * (1 - ramp(np.abs(off_VW), half - RIM / 2, half + SAG))
        return Late(atrophy, collapse, none, none, none, none, np.zeros_like(since_V))
    # Fluid at once and at its most within months, gone in two years, while the scar forms.
    active_V1 = (
        on_V1 * ((0.7 + 0.3 * ramp(since_V, 0, 0.3)) * (1 - ramp(since_V, 0.8, 2.0)))[:, None]
    )
    old_V1 = on_V1 * ramp(since_V, 0.5, 1.8)[:, None]
    size = eye.lesion_size
    detached = bump((off_VW / (0.7 * size)) ** 2)
    lens = bump((off_VW / (1.25 * size)) ** 2)
    disc = 1 - ramp(np.abs(off_VW), 0.75 * size, 1.0 * size)
    return Late(
        none,
        collapse=np.maximum(0.6 * on_V1 * detached, 0.85 * old_V1 * disc),
        detachment=0.13 * size * on_V1 * (1 - 0.6 * old_V1) * detached,
        fluid=0.17 * size * active_V1 * lens,
        scar=0.09 * size * old_V1 * disc,
        scarred=old_V1 * disc,
        active=active_V1[:, 0],
    )
