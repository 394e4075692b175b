"""Random streams that depend on what they are for, never on how many subjects there are."""

import numpy as np

# What a stream is for.
DESIGN, PATIENT, BEATS, APPEARANCE, NOISE = range(5)  # of the heart
RETINA_SPLIT, RETINA_PATIENT, RETINA_VISITS, EYE_BUILD, EYE_LOOK, EYE_SPECKLE = range(10, 16)


def stream(seed: int, purpose: int, index: int) -> np.random.Generator:
    """PCG64 for one purpose of one subject (or block of subjects).

    Purposes are apart so that the same seed gives the same patients under other nuisances.
    """
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose, index)))
    )
