"""Visual acuity: what is left of it once the fovea is damaged."""

import numpy as np

from tvrl_jax.data.phantom.retina.disease import Disease, height_at
from tvrl_jax.data.phantom.retina.eye import Eye, druse_profile
from tvrl_jax.data.phantom.retina.late import late_disease

BEST, BY_AGE, NOISE = 84.0, 0.15, 4.0  # letters; letters per year over 65; sd of a test
FOVEA_MM = 0.3  # half width of what is averaged
DRUSEN, ATROPHY, FLUID, SCAR = 60.0, 45.0, 120.0, 50.0  # letters per mm, whole, per mm, whole


def acuity(disease: Disease, eye: Eye, age: float, luck: float) -> float:
    """ETDRS letters at the last visit, 0 to 100. `luck` is a standard normal draw."""
    x = np.linspace(-FOVEA_MM, FOVEA_MM, 25)[None]
    late = late_disease(disease, eye, x, np.zeros(1))
    drusen = float(height_at(disease, 0.0)) / 1000 * druse_profile(eye, x, np.zeros(1)).mean()
    lost = DRUSEN * drusen + ATROPHY * late.atrophy.mean()
    lost += FLUID * (late.fluid + late.detachment).mean() + SCAR * late.scarred.mean()
    letters = BEST - BY_AGE * max(age - 65, 0) - lost + NOISE * luck
    return float(np.clip(np.rint(letters), 0, 100))
