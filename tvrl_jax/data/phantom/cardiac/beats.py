"""What one gated cine sees: a single steady beat, or in atrial fibrillation a mixture of four."""

import numpy as np

from tvrl_jax.data.phantom.cardiac.cycle import Intervals, ejected, filled, intervals
from tvrl_jax.data.phantom.cardiac.physiology import Patient

FRAMES = 50  # over one RR interval
BEATS = 4  # heartbeats that share the lines of k-space in an irregular rhythm
RR_SPREAD = 0.24  # coefficient of variation of RR in atrial fibrillation
TRIGGER_JITTER = 0.012  # standard deviation of a frame's time in one beat, in RR
PRELOAD = 0.6  # relative gain of stroke volume per relative gain of the RR interval before


def frame_times(rr: float) -> np.ndarray:
    """Seconds after the R wave, [T]."""
    return np.arange(FRAMES) * (rr / FRAMES)


def emptied(patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """How empty the ventricle is, [beats, T]: 0 at end-diastole, 1 at end-systole.

    In sinus rhythm every heartbeat is the same and one row says it all. In atrial fibrillation
    there are BEATS rows, one for each heartbeat that gives its share of k-space.
    """
    rr = 60 / patient.hr
    if patient.af:
        return _irregular(patient, rr, rng)
    at = intervals(rr, male=patient.male, af=False)
    time_T = frame_times(rr)
    return (ejected(time_T, at) - filled(time_T, at, patient.late))[None]


def _irregular(patient: Patient, rr: float, rng: np.random.Generator) -> np.ndarray:
    """Each beat ends at its own volume, the longer the fuller, and the next one starts there."""
    rr_B = irregular_rr(rr, rng)
    gain_B = np.clip(PRELOAD * (rr_B / rr - 1), -0.35, 0.35)
    jitter_BT = rng.normal(0.0, TRIGGER_JITTER * rr, (BEATS, FRAMES))
    nominal = intervals(rr, male=patient.male, af=True)
    rows = []
    for rr_b, start, end, jitter_T in zip(rr_B, np.roll(gain_B, 1), gain_B, jitter_BT, strict=True):
        at = intervals(rr_b, male=patient.male, af=True)
        time_T = stretched(np.clip(frame_times(rr) + jitter_T, 0, rr), nominal, at)
        out, back = ejected(time_T, at), filled(time_T, at, patient.late)
        rows.append(-start + (1 + start) * out - (1 + end) * back)
    return np.stack(rows)


def irregular_rr(rr: float, rng: np.random.Generator) -> np.ndarray:
    """RR intervals of the beats, seconds [BEATS], with the header's `rr` as their mean."""
    rr_B = rr * np.clip(1 + RR_SPREAD * rng.standard_normal(BEATS), 0.6, 1.6)
    return np.maximum(rr_B * (rr / rr_B.mean()), 0.42)


def stretched(time, nominal: Intervals, at: Intervals):
    """The moment of a beat that retrospective gating files under a nominal time.

    Systole is matched to systole and diastole to diastole, each stretched linearly, because the
    irregularity is almost all in diastole.
    """
    systole = time * (at.closing / nominal.closing)
    scale = (at.rr - at.closing) / (nominal.rr - nominal.closing)
    return np.where(time < nominal.closing, systole, at.closing + (time - nominal.closing) * scale)
