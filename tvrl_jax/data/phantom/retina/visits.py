"""When a patient comes and for how long the registry follows: nothing here knows the disease."""

from typing import NamedTuple

import numpy as np

MOST, LONGEST = 12, 8.0  # visits, years
PACE, PACE_SPREAD = 0.9, 0.8  # years between a patient's planned visits: median, sd of log
UNEVEN = 0.35  # sd of the logarithm of a single interval
MISSED = 0.15  # probability that a planned visit does not take place
STAY = (1.3, 0.21)  # shape and success probability of the number of further visits
FOLLOW_UP = (0.3, 11.0)  # years without images behind the last visit: uniform


class Visits(NamedTuple):
    years: np.ndarray  # [V], since the first visit, in steps of 0.001
    follow_up: float  # years from the last visit to the end of the registry


def draw_visits(rng: np.random.Generator) -> Visits:
    """1 to 12 visits within 8 years; the number of visits kept is negative binomial, then cut."""
    pace = float(np.clip(PACE * np.exp(PACE_SPREAD * rng.standard_normal()), 0.2, 2.5))
    kept = 1 + int(rng.negative_binomial(*STAY))
    gap = pace * np.exp(UNEVEN * rng.standard_normal(3 * MOST))
    came = rng.random(3 * MOST) >= MISSED
    follow_up = rng.uniform(*FOLLOW_UP)
    later = np.cumsum(gap)[came]
    years = np.concatenate([[0.0], later[later <= LONGEST]])[: min(kept, MOST)]
    return Visits(np.round(years, 3), round(follow_up, 3))
