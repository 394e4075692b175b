"""How often of two scores that know nothing one is called better beyond chance; 2.5 % is right.

python -m benchmarks.level

Labels are drawn once; both scores are drawn anew in each run and compared as a probe compares two
methods: paired resamples of the patients, the 95 % interval of the difference on one side of 0.
"""

import numpy as np

from tvrl_jax.probing import stats

RUNS, SAMPLES = 1000, 300
TESTS = ((40, 10), (135, 14), (135, 45), (400, 40))  # test patients, positives


def constant(rng, count: int) -> np.ndarray:
    return np.full(count, 0.3)


def random(rng, count: int) -> np.ndarray:
    return rng.random(count)


def coarse(rng, count: int) -> np.ndarray:
    """Two values, as of one nearest neighbour."""
    return (rng.random(count) < 0.3).astype(float)


def shares(metric, others, count: int, positives: int) -> tuple[float, float]:
    """Of the runs: a random ranking is called better than `others`, and worse."""
    rng, label_N = np.random.default_rng(0), (np.arange(count) < positives).astype(float)
    found = []
    for run in range(RUNS):
        weight_RN = stats.resample(np.arange(count), samples=SAMPLES, seed=run)
        pair = [np.stack([1 - s, s], 1) for s in (random(rng, count), others(rng, count))]
        value = [metric(label_N, output_NK, stats.once(count))[0] for output_NK in pair]
        resampled = [metric(label_N, output_NK, weight_RN) for output_NK in pair]
        gap = stats.difference(value[0] - value[1], *resampled)
        found.append((gap.low > 0, gap.high < 0))
    return tuple(100 * np.mean(found, axis=0))


def main() -> None:
    print("a random ranking, called better / worse than ... (% of the runs)")
    for count, positives in TESTS:
        print(f"{count} test patients, {positives} positive")
        for others in (random, coarse, constant):
            for metric in (stats.auroc, stats.average_precision):
                better, worse = shares(metric, others, count, positives)
                name = metric.__name__
                print(f"  {others.__name__:<9} {name:<18} {better:5.1f} / {worse:.1f}", flush=True)


if __name__ == "__main__":
    main()
