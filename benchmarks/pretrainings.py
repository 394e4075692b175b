"""How often two methods that are alike are called different because each was pretrained by chance.

python -m benchmarks.pretrainings

The R2 of an encoder is drawn anew for each pretraining, alike for both methods, and predictions of
that R2 are drawn for the test patients. Both methods are compared as a comparison does it: the mean
over pretraining seeds, paired resamples of the patients, p of Student's t. Printed are the share of
p below 5 %, where 5 % is right of p that knows of pretrainings; that of these in which the
difference of every seed has the sign of the mean, as `ahead` and `behind` ask for; and the share of
`p of the methods` below 5 %, which a comparison tells from three seeds on.
"""

import argparse

import numpy as np

from tvrl_jax.probing import intervals, stats

RUNS, SAMPLES = 500, 400
CENTRE, SPREAD = 0.6, 0.05  # of R2 over pretrainings
PATIENTS, SEEDS = (300, 2000), (1, 2, 3, 5)
RIGHT = 0.05


def predictions(rng, label_N: np.ndarray, r2: float) -> np.ndarray:
    """[N, 1], of standard normal labels: the best that a source with that R2 can say."""
    noise_N = rng.normal(size=label_N.size)
    return (r2 * label_N + np.sqrt(r2 * (1 - r2)) * noise_N)[:, None]


def called(patients: int, seeds: int, runs: int = RUNS, spread: float = SPREAD) -> np.ndarray:
    """[3]: shares of the runs with p below RIGHT; with every seed's difference on one side
    besides; and with p of the methods below RIGHT (NaN of one seed)."""
    rng, found = np.random.default_rng(seeds), []
    for run in range(runs):
        label_N = rng.normal(size=patients)
        drawn_RN = stats.resample(np.arange(patients), samples=SAMPLES, seed=run)
        weight_RN = np.concatenate([stats.once(patients), drawn_RN])
        truth_MS = rng.normal(CENTRE, spread, size=(2, seeds))
        score_MSR = np.array(
            [
                [stats.r2(label_N, predictions(rng, label_N, r2), weight_RN) for r2 in own]
                for own in truth_MS
            ]
        )
        gap_S = score_MSR[0, :, 0] - score_MSR[1, :, 0]
        pair = gap_S.mean(), *score_MSR[:, :, 1:].mean(1)
        differs = intervals.difference(*pair, smallest=patients).p < RIGHT
        alike, over = abs(np.sign(gap_S).sum()) == seeds, np.nan
        if seeds > 1:
            over = intervals.difference(*pair, smallest=patients, draws=[gap_S]).p < RIGHT
        found.append((differs, differs and alike, over))
    return np.mean(found, axis=0)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f"R2 over pretrainings {CENTRE} +- {SPREAD}; % of {RUNS} comparisons")
    for patients in PATIENTS:
        for seeds in SEEDS:
            differs, alike, over = 100 * called(patients, seeds)
            print(
                f"{patients:4} test patients, {seeds} seeds: p < 0.05 {differs:.1f}, and all seeds "
                f"agree {alike:.1f}; p of the methods < 0.05 {over:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
