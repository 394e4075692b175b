"""Why Harrell's C is not lifelines': `python -m benchmarks.concordance`.

The same resamples of test patients, drawn patients listed as often as they were drawn. lifelines
takes no weights and is called once a resample; ours takes all of them as one matrix.
"""

import argparse
import time

import numpy as np
from lifelines.utils import concordance_index

from tvrl_jax.probing import stats, survival_metrics

SAMPLES = 1000
CALLS = 100  # of lifelines, scaled to SAMPLES


def outcomes(rng, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """(event, duration) with ties, and risks that know nothing."""
    duration_N = np.round(rng.exponential(3, patients), 2)
    event_N = rng.random(patients) < 0.4
    return np.stack([event_N, duration_N], axis=1), rng.normal(size=patients)


def listed(weight_N) -> np.ndarray:
    return np.repeat(np.arange(len(weight_N)), weight_N.astype(int))


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rng = np.random.default_rng(0)
    for patients in (135, 450, 8000):
        label_N2, risk_N = outcomes(rng, patients)
        weight_RN = stats.resample(np.arange(patients), samples=SAMPLES, seed=0)
        begin = time.process_time()
        own_R = survival_metrics.c_index(label_N2, risk_N[:, None], weight_RN)
        middle = time.process_time()
        twin_R = [
            concordance_index(label_N2[rows, 1], -risk_N[rows], label_N2[rows, 0])
            for rows in map(listed, weight_RN[:CALLS])
        ]
        own_s, twin_s = middle - begin, (time.process_time() - middle) * SAMPLES / CALLS
        apart = np.abs(own_R[:CALLS] - twin_R).max()
        print(
            f"{patients} patients, {SAMPLES} resamples: {own_s:.3f} s of a processor, lifelines "
            f"{twin_s:.2f} s, {twin_s / own_s:.0f} times as long; largest difference {apart:.1g}"
        )


if __name__ == "__main__":
    main()
