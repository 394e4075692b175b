"""When survival is looked at, and for how long the test series were under observation.

An outcome is (event, duration): 1 and the time of the event, or 0 and the time until which none
was seen. Where an event and the end of an observation fall on one time, the event comes first.
Outcomes are float32, and so are the times at which they are looked at: else an event at 1.1 would
come after the horizon 1.1, and one at 1.3 before it, by rounding alone.
"""

from typing import NamedTuple

import numpy as np

from tvrl_jax.errors import UserError

ROUNDING = 1e-4  # of a step of three digits, of which there are 1,000 at most: float32's, and more


class Clock(NamedTuple):
    """Evaluation times in data.time_unit, all of them float32 numbers, and the censoring of the
    test split."""

    horizon_H: np.ndarray  # ascending
    grid_G: np.ndarray  # evenly spaced up to the last horizon; 0 is left out
    tau: float  # the concordance by IPCW counts events before this
    censored_C: np.ndarray  # times at which a test series was last seen without an event
    observed_C: np.ndarray  # share that is under observation for longer than that, Kaplan-Meier


class Curve(NamedTuple):
    """A step function of time: 1 before time_C[0], then value_C."""

    time_C: np.ndarray
    value_C: np.ndarray


def make_clock(test_N2, *, horizons, tau: float, grid: int, column: str, unit: str) -> Clock:
    """Checks the horizons against the outcomes of the test series, all labelled.

    The censoring is theirs, too (Graf et al. 1999; Uno et al. 2007): patients of another hospital,
    on whom a model that learned elsewhere may be tested, are followed for as long as it follows.
    tau: 0 = the last horizon. Raises UserError for a horizon that the test split does not reach or
    from which nobody is left (naming the largest usable one), and for one before its first event;
    for such a tau, too: no pair would be left to compare. Where no horizon is usable, it says so.
    """
    horizon_H = np.sort(stored(horizons))
    tau = float(stored(tau)) or float(horizon_H[-1])
    test_N2, where = stored(test_N2), f'column "{column}"'
    test_T = test_N2[:, 1]
    end = test_T.max()
    first = test_T[test_N2[:, 0] == 1].min()
    if first >= end:
        raise UserError(
            f"No value of survival.horizons is usable: the first event of {where} in the test "
            f"split comes at {first:g} {unit}, and the outcomes reach to {end:g} {unit}; series "
            "must be seen for longer than until that event."
        )
    for key, time in [("horizons", h) for h in horizon_H] + [("tau", tau)]:
        if time >= end:
            raise UserError(
                f"survival.{key} holds {time:g}, but the outcomes of {where} reach to {end:g} "
                f"{unit}: the largest usable value is {_usable(_below(end), first, end)}."
            )
    if horizon_H[0] < first:
        raise UserError(
            f"survival.horizons holds {horizon_H[0]:g}, but the first event of {where} in the test "
            f"split comes at {first:g} {unit}: the smallest usable horizon is "
            f"{_usable(_from(first), first, end)}."
        )
    # A last horizon at the first event leaves no pair either, but has curves to be judged by.
    if tau <= first and tau != horizon_H[-1]:
        raise UserError(
            f"survival.tau = {tau:g}, but the first event of {where} in the test split comes at "
            f"{first:g} {unit}: tau must be greater, or 0 for the last horizon."
        )
    grid_G = stored(horizon_H[-1] * np.arange(1, grid + 1) / grid)
    return Clock(horizon_H, grid_G, tau, *censoring(test_N2))


def stored(time) -> np.ndarray:
    """Times as the outcomes hold them, float32, in float64."""
    return np.asarray(time, np.float32).astype(np.float64)


def _usable(round_number: float, first: float, end: float) -> str:
    """Of the horizons from `first` to below `end`: the round number, or `first` to all its digits
    where no round one lies among them."""
    text = f"{round_number:g}"
    return text if first <= stored(float(text)) < end else str(np.float32(first))


def _below(time: float) -> float:
    """The largest number of three significant digits below `time`."""
    step = _step(time)
    return (np.ceil(time / step - ROUNDING) - 1) * step


def _from(time: float) -> float:
    """The smallest number of three significant digits that is not below `time`."""
    step = _step(time)
    return max(np.ceil(time / step - ROUNDING) * step, time)


def _step(time: float) -> float:
    return 10.0 ** (np.floor(np.log10(max(time, 1e-300))) - 2)


def times(clock: Clock) -> np.ndarray:
    """The times of the survival columns of a prediction: horizons, then grid."""
    return np.concatenate([clock.horizon_H, clock.grid_G])


def kaplan_meier(outcome_N2) -> Curve:
    """Share without an event for longer than each event time (Kaplan and Meier 1958)."""
    event_N, time_N = outcome_N2[:, 0] == 1, outcome_N2[:, 1]
    time_C = np.unique(time_N[event_N])
    return _product(time_C, event_N, time_N, time_N >= time_C[:, None])


def censoring(outcome_N2) -> Curve:
    """Share under observation for longer than each censoring time: Kaplan-Meier with the roles
    exchanged. Whose event falls on that very time is no longer there to be censored."""
    event_N, time_N = outcome_N2[:, 0] == 1, outcome_N2[:, 1]
    time_C = np.unique(time_N[~event_N])
    there_CN = (time_N > time_C[:, None]) | ((time_N == time_C[:, None]) & ~event_N)
    return _product(time_C, ~event_N, time_N, there_CN)


def _product(time_C, ends_N, time_N, there_CN) -> Curve:
    gone_C = ((time_N == time_C[:, None]) & ends_N).sum(1)
    return Curve(time_C, np.cumprod(1 - gone_C / there_CN.sum(1)))


def at(curve: Curve, time_N, *, before: bool = False) -> np.ndarray:
    """The curve at each time; `before`: its limit from the left."""
    place_N = np.searchsorted(curve.time_C, time_N, side="left" if before else "right")
    return np.append(1.0, curve.value_C)[place_N]


def to_arrays(clock: Clock) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in clock._asdict().items()}


def from_arrays(arrays: dict[str, np.ndarray]) -> Clock | None:
    """None of none. The times of a file from before they were float32 are rounded to it."""
    if not arrays:
        return None
    rounded = {name: stored(arrays[name]) for name in ("horizon_H", "grid_G", "tau")}
    return Clock(**arrays | rounded)._replace(tau=float(rounded["tau"]))


def same(a: Clock | None, b: Clock | None) -> bool:
    """Whether metrics by the two can be compared."""
    if a is None or b is None:
        return a is b
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def observed(clock: Clock) -> Curve:
    """The censoring curve of the test split."""
    return Curve(clock.censored_C, clock.observed_C)
