"""The timing of a heartbeat and how empty the ventricle is at each moment of it."""

from typing import NamedTuple

import numpy as np


class Intervals(NamedTuple):
    """Seconds after the R wave."""

    opening: float  # the aortic valve opens: ejection starts
    closing: float  # it closes: the smallest volume
    filling: float  # the mitral valve opens
    early_end: float
    late_start: float
    rr: float  # the next R wave: the largest volume again


def intervals(rr: float, *, male: bool, af: bool) -> Intervals:
    """Systole by the regressions on heart rate of Weissler et al. 1968 (Circulation 37:149).

    Electromechanical systole 546 - 2.1 HR ms (men), 549 - 2.0 HR (women); ejection 413 - 1.7 HR
    and 418 - 1.6 HR. Diastole takes the rest, so it shortens faster. Beyond the rates measured
    there (short beats of atrial fibrillation) the line is not extrapolated.
    """
    hr = min(max(60 / rr, 40.0), 130.0)
    closing = (546 - 2.1 * hr if male else 549 - 2.0 * hr) / 1000
    ejection = (413 - 1.7 * hr if male else 418 - 1.6 * hr) / 1000
    filling = closing + 0.08 * rr**0.5
    span = rr - filling
    early = min(0.34, 0.95 * span) if af else min(0.30, 0.75 * span)
    return Intervals(
        closing - ejection, closing, filling, filling + early, rr - min(0.15, 0.45 * span), rr
    )


def _passed(time, start: float, stop: float):
    return np.clip((time - start) / (stop - start), 0.0, 1.0)


def _early_peak(x):
    """Integral of a flow 12 x (1-x)^2 that peaks after a third of its time."""
    return 1 - (1 - x) ** 3 * (1 + 3 * x)


def _mid_peak(x):
    """Integral of a flow 6 x (1-x)."""
    return x * x * (3 - 2 * x)


def ejected(time, at: Intervals):
    """Share of the stroke volume that has left by `time` (seconds after the R wave)."""
    return _early_peak(_passed(time, at.opening, at.closing))


def filled(time, at: Intervals, late: float):
    """Share of it that has returned: the early wave, then `late` of it by the atrium."""
    early = _early_peak(_passed(time, at.filling, at.early_end))
    return (1 - late) * early + late * _mid_peak(_passed(time, at.late_start, at.rr))
