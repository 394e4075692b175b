"""How often of two scores that know nothing one is called better beyond chance; 2.5 % is right.

python -m benchmarks.level

Labels are drawn once; both scores are drawn anew in each run and compared as a probe compares two
methods: paired resamples of the patients, the 95 % interval of the difference on one side of 0.
Then the same with few test patients, for which a probe calls none better (`results.FEW`): how often
there is a difference, either way; 5 % is right.

Then of patients some of whom have many series and others one: with Student's t of as many patients
as there are, and of their effective number, as a probe has it.

Last, how often p is so small as Holm's first of 48 differences asks for: two predictions that are
equally good.
"""

import argparse

import numpy as np

from tvrl_jax.probing import intervals, stats

RUNS, SAMPLES = 1000, 1000
TESTS = ((40, 10), (135, 14), (135, 45), (400, 40))  # test patients, positives
FEW = (1, 2, 3, 5, 9, 10, 20, 50)  # test patients of a regression; positives of MANY patients
MANY = 200
# (test patients, series of each), ...
UNEQUAL = (
    ((40, 1),),
    ((3, 30), (37, 1)),
    ((1, 20), (39, 1)),
    ((10, 20), (90, 1)),
    ((5, 20), (195, 1)),
)

TAIL, TAIL_RUNS, TAIL_SAMPLES = (10, 15, 20, 40, 135), 4000, 1000
LEVELS = (0.05, 0.01, 0.05 / 48)


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
        gap = intervals.difference(value[0] - value[1], *resampled, smallest=positives)
        found.append((gap.low > 0, gap.high < 0))
    return tuple(100 * np.mean(found, axis=0))


def called(metric, draw, count: int, smallest: int, runs: int = RUNS) -> float:
    """Of the runs: two outputs for `count` patients, of whom `smallest` are of a class, differ;
    draw(rng) -> labels, two outputs."""
    rng, found = np.random.default_rng(0), []
    for run in range(runs):
        weight_RN = stats.resample(np.arange(count), samples=SAMPLES, seed=run)
        label_N, *pair = draw(rng)
        value = [metric(label_N, output_NK, stats.once(count))[0] for output_NK in pair]
        resampled = [metric(label_N, output_NK, weight_RN) for output_NK in pair]
        gap = intervals.difference(value[0] - value[1], *resampled, smallest=smallest)
        found.append(gap.low > 0 or gap.high < 0)
    return 100 * float(np.mean(found))


def values(count: int):
    """Normal labels, and normal values that have nothing to do with them."""
    return lambda rng: (rng.normal(size=count), *rng.normal(size=(2, count, 1)))


def classes(positives: int):
    """Of MANY patients so many are positive, and the scores have nothing to do with it."""
    label_N = (np.arange(MANY) < positives).astype(float)
    return lambda rng: (label_N, *(np.stack([1 - s, s], 1) for s in rng.random((2, MANY))))


def unequal(sizes, alike: bool, runs: int = RUNS) -> np.ndarray:
    """Of the runs: two predictions that know nothing differ in MAE, [2]: with Student's t of all
    patients, and of their effective number. sizes: as of UNEQUAL. alike: all series of a patient
    are; else they have nothing to do with each other."""
    of_each = [series for patients, series in sizes for _ in range(patients)]
    subject_N = np.repeat(np.arange(len(of_each)), of_each)
    rng, once, found = np.random.default_rng(0), stats.once(len(subject_N)), []
    counts = len(of_each), stats.effective(subject_N)
    for run in range(runs):
        weight_RN = stats.resample(subject_N, samples=SAMPLES, seed=run)
        drawn = rng.normal(size=(3, len(subject_N)))
        label_N, *outputs = drawn[:, subject_N] if alike else drawn
        pair = [output_N[:, None] for output_N in outputs]
        value = [stats.mae(label_N, output_NK, once)[0] for output_NK in pair]
        resampled = [stats.mae(label_N, output_NK, weight_RN) for output_NK in pair]
        gap = value[0] - value[1], *resampled
        found.append([intervals.difference(*gap, smallest=n).p < 0.05 for n in counts])
    return 100 * np.mean(found, axis=0)


def tail(count: int, runs: int = TAIL_RUNS) -> np.ndarray:
    """Of the runs: p of a difference of R2 below each of LEVELS, of so many test patients."""
    rng, p = np.random.default_rng(count), []
    for run in range(runs):
        label_N, *noises = rng.normal(size=(3, count))
        weight_RN = stats.resample(np.arange(count), samples=TAIL_SAMPLES, seed=run)
        pair = [(0.5 * label_N + 0.5 * noise_N)[:, None] for noise_N in noises]
        value = [stats.r2(label_N, output_NK, stats.once(count))[0] for output_NK in pair]
        resampled = [stats.r2(label_N, output_NK, weight_RN) for output_NK in pair]
        gap = intervals.difference(value[0] - value[1], *resampled, smallest=count)
        p.append(gap.p)
    return 100 * np.mean(np.less(np.array(p)[:, None], LEVELS), axis=0)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("a random ranking, called better / worse than ... (% of the runs)")
    for count, positives in TESTS:
        print(f"{count} test patients, {positives} positive")
        for others in (random, coarse, constant):
            for metric in (stats.auroc, stats.average_precision):
                better, worse = shares(metric, others, count, positives)
                name = metric.__name__
                print(f"  {others.__name__:<9} {name:<18} {better:5.1f} / {worse:.1f}", flush=True)
    print(
        f"called different (% of the runs): MAE of so many patients, AUROC with so many of {MANY}"
    )
    for count in FEW:
        of_values = called(stats.mae, values(count), count, count)
        of_classes = called(stats.auroc, classes(count), MANY, count)
        print(f"  {count:>2} {of_values:6.1f} {of_classes:6.1f}", flush=True)
    print("the same, MAE, series unlike or all alike in a patient: t of the patients, effective")
    for sizes in UNEQUAL:
        shares_4 = np.concatenate([unequal(sizes, alike) for alike in (False, True)])
        print(f"  {sizes!s:<20}", *(f"{share:6.1f}" for share in shares_4), flush=True)
    print("p of a difference of R2 below 5, 1 and 0.104 % (% of the runs), so many test patients")
    for count in TAIL:
        print(f"  {count:>3}", *(f"{share:6.2f}" for share in tail(count)), flush=True)


if __name__ == "__main__":
    main()
