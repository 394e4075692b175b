"""How drusen grow in one eye, and when and into what they convert.

Times are years after the eye's last visit, so negative ones lie in its past. Rate and height are
drawn independently of each other and of the visits: the age of the drusen gives way. Neither the
last image nor the calendar then tells how fast an eye grows.
"""

import math
from typing import NamedTuple

import numpy as np

RATE, RATE_SPREAD = 15.0, 0.72  # um per year: median, and standard deviation of its logarithm
HEIGHT, HEIGHT_SPREAD = 76.0, 0.62  # um at the last visit
FARTHEST = 1.8  # standard deviations from the median
BY_AGE = 0.01  # of the logarithm of the height, per year of age
LIKE = {"rate": 0.7, "height": 0.6, "trait": 0.7}  # correlation of the two eyes of a patient
# Hazard per year of an eye at the medians, and its powers of the present height and of the rate.
HAZARD, BY_HEIGHT, BY_RATE = 0.026, 3.0, 1.2
RECENT = 5.0  # years: eyes that converted longer before their last visit are not in the cohort
BY_TRAIT = 1.3  # log odds of neovascular against atrophic conversion, per unit of the trait


class Disease(NamedTuple):
    rate: float  # um per year, of the drusen's mean height
    height: float  # um, mean height of the drusen at the last visit
    trait: float  # broad and smooth (positive) or narrow, many and with foci (negative)
    conversion: float  # years after the last visit
    neovascular: bool  # what it converts to: neovascular disease, or else atrophy


def cumulative_hazard(rate, years):
    """Expected number of conversions in the first `years` of the drusen.

    The integral of h(t) = HAZARD (height(t)/HEIGHT)^a (rate/RATE)^b with height(t) = rate t:
    both kinds together, so that exp(-this) is the share of eyes without late disease.
    """
    slope = rate / HEIGHT
    per_year = HAZARD * (rate / RATE) ** BY_RATE * slope**BY_HEIGHT
    return per_year * np.maximum(years, 0.0) ** (BY_HEIGHT + 1) / (BY_HEIGHT + 1)


def years_until(rate, cumulative):
    """The age of the drusen at which `cumulative_hazard` reaches a value: its inverse."""
    slope = rate / HEIGHT
    per_year = HAZARD * (rate / RATE) ** BY_RATE * slope**BY_HEIGHT
    return (cumulative * (BY_HEIGHT + 1) / per_year) ** (1 / (BY_HEIGHT + 1))


def neovascular_share(trait):
    """Share of the hazard that is neovascular; it does not change with time."""
    return 1 / (1 + np.exp(-BY_TRAIT * trait))


def height_at(disease: Disease, time):
    """Mean height of the drusen in um at times in years after the last visit."""
    return np.maximum(disease.height + disease.rate * np.asarray(time), 0.0)


def draw_diseases(rng: np.random.Generator, age: float) -> tuple[Disease, Disease]:
    """The right and the left eye of a patient, alike as LIKE says; `age` at the last visit.

    The time of conversion comes from a unit exponential: the cumulative hazard at conversion,
    counted from RECENT years before the last visit.
    """
    common, own, luck = rng.standard_normal(3), rng.standard_normal((2, 3)), rng.random((2, 2))
    alike = np.sqrt(list(LIKE.values()))
    normal = alike * common + np.sqrt(1 - alike**2) * own
    return tuple(
        _disease(*np.clip(normal[e], -FARTHEST, FARTHEST).tolist(), age, *luck[e].tolist())
        for e in range(2)
    )


def _disease(fast: float, tall: float, trait: float, age: float, when: float, what: float):
    rate = RATE * math.exp(RATE_SPREAD * fast)
    height = HEIGHT * math.exp(HEIGHT_SPREAD * tall + BY_AGE * (age - 75))
    years = height / rate
    spent = cumulative_hazard(rate, years - RECENT) - math.log1p(-when)
    return Disease(
        rate=rate,
        height=height,
        trait=trait,
        conversion=float(years_until(rate, spent)) - years,
        neovascular=what < float(neovascular_share(trait)),
    )
