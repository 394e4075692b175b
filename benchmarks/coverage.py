"""How often the interval of the row `all` holds the expected score of one fit; 95 % is right.

python -m benchmarks.coverage

Two encoders that show the same hidden state through noise, ridge probes of it. Each run draws new
test patients and 5 new draws of labels, and asks for the interval of each encoder's mean score and
of their difference. The truth is the mean over the draws of all runs, on the patients of all runs.

Then of one fit, how often the interval of an AUROC holds it, on the logit scale as a probe has it,
and by percentiles: normal scores of equal spread, one series of each patient.
"""

import argparse

import numpy as np
from scipy.stats import norm

from tvrl_jax.probing import intervals, problem, ridge, rows, sampling, stats
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.tasks import Task
from tvrl_jax.results import ALL

COHORTS, RUNS, SEEDS, SAMPLES = 4, 40, 5, 400  # runs of each cohort, draws, resamples of patients
TRAIN, VAL, HIDDEN, WIDTH = 1000, 150, 16, 32
CHUNK = 50  # draws that are fitted at once
STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-6, 14))
# kind, its metric, label fraction, test patients of a run
CASES = (
    ("regression", "r2", 0.02, 300),
    ("regression", "r2", 0.1, 300),
    ("regression", "r2", 1.0, 300),
    ("regression", "r2", 0.02, 1000),
    ("classification", "auroc", 0.05, 300),
)
AREAS, TESTS, DRAWN = (0.7, 0.9, 0.97, 0.99), ((40, 10), (135, 14), (300, 30)), 1000


def cohort(rng, kind: str, tested: int):
    """Labels as a task, split -> series (one of each patient), and the features of two encoders."""
    sizes = {"train": TRAIN, "val": VAL, "test": tested}
    parts = np.split(np.arange(sum(sizes.values())), np.cumsum(list(sizes.values()))[:-1])
    state_NH = rng.normal(size=(sum(sizes.values()), HIDDEN))
    label_N = state_NH[:, 0] + 0.5 * rng.normal(size=len(state_NH))
    if kind == "classification":
        label_N = label_N > 1.2
    classes = ("no", "yes") if kind == "classification" else ()
    task = Task("label", kind, classes, label_N.astype(np.float32))
    encoders = [_encode(state_NH, rng) for _ in range(2)]
    return task, dict(zip(sizes, parts, strict=True)), encoders


def _encode(state_NH, rng) -> np.ndarray:
    mixing_HD = rng.normal(size=(HIDDEN, WIDTH)) / np.sqrt(HIDDEN)
    noise_ND = 0.7 * rng.normal(size=(len(state_NH), WIDTH))
    return (state_NH @ mixing_HD + noise_ND).astype(np.float32)


def fits(task: Task, series: dict, feature_ND, fraction: float) -> list:
    """A prediction of each of RUNS x SEEDS draws."""
    train, feature = series["train"], {split: feature_ND[i] for split, i in series.items()}
    made = []
    for first in range(0, RUNS * SEEDS, CHUNK):
        drawn = [
            Draw(task, fraction, s, sampling.draw(task, train, train, fraction=fraction, seed=s))
            for s in range(first, first + CHUNK)
        ]
        for part in problem.group(drawn, series):
            made += ridge.fit(feature, part, strengths=STRENGTHS)
    return made


def held(kind: str, metric: str, fraction: float, tested: int, seed: int) -> np.ndarray:
    """[RUNS, 4]: whether patients alone, and patients and draws, hold the score (mean of both
    encoders), and the same of the difference."""
    task, series, encoders = cohort(np.random.default_rng(seed), kind, RUNS * tested)
    predictions = [fits(task, series, feature_ND, fraction) for feature_ND in encoders]
    label_N, once = task.value_N[series["test"]], stats.once(RUNS * tested)
    function = stats.metrics(kind)[metric]
    truth = [np.mean([function(label_N, p.test_NK, once)[0] for p in own]) for own in predictions]
    found = []
    for run in range(RUNS):
        own = slice(run * tested, (run + 1) * tested)
        sides = [_scores(p, run, own, series["test"][own]) for p in predictions]
        of_all = [next(s for s in side if s.metric == metric) for side in sides]
        found.append((*_score_held(of_all, truth), *_gap_held(of_all, truth[0] - truth[1])))
    return np.array(found, float)


def _scores(predictions, run: int, own: slice, test_N) -> list[rows.Score]:
    drawn = predictions[run * SEEDS : (run + 1) * SEEDS]
    drawn = [p._replace(test_NK=p.test_NK[own]) for p in drawn]
    return [
        s for s in rows.evaluate(drawn, test_N, test_N, samples=SAMPLES, seed=0) if s.seed == ALL
    ]


def _score_held(scores, truth) -> tuple[float, float]:
    alone = [_over_patients(s) for s in scores]
    both = [s.interval for s in scores]
    return tuple(
        np.mean([i.low <= t <= i.high for i, t in zip(made, truth, strict=True)])
        for made in (alone, both)
    )


def _over_patients(score: rows.Score) -> intervals.Interval:
    known = score.interval.value, score.sample_R
    return intervals.interval(score.metric, *known, smallest=rows.smallest(score))


def _gap_held(scores, truth: float) -> tuple[bool, bool]:
    value = scores[0].interval.value - scores[1].interval.value
    pair = (s.sample_R for s in scores)
    alone = intervals.difference(value, *pair, smallest=rows.smallest(*scores))
    made = rows.differences(scores[:1], scores[1:], method="", cohort="", probe="")
    both = next(row for row in made if row["metric"] == scores[0].metric)
    return alone.low <= truth <= alone.high, both["ci_low"] <= truth <= both["ci_high"]


def area_held(area: float, patients: int, positives: int, runs: int = DRAWN) -> np.ndarray:
    """[2, 3]: shares of the intervals, on the logit scale and by percentiles, that hold the AUROC,
    and lie wholly above and below it."""
    rng, subject_N = np.random.default_rng(0), np.arange(patients)
    label_N, found = (subject_N < positives).astype(float), []
    for run in range(runs):
        score_N = np.sqrt(2) * norm.ppf(area) * label_N + rng.normal(size=patients)
        output_NK = np.stack([-score_N, score_N], 1)
        weight_RN = stats.resample(subject_N, samples=SAMPLES, seed=run)
        sample_R = stats.auroc(label_N, output_NK, weight_RN)
        value = stats.auroc(label_N, output_NK, stats.once(patients))[0]
        made = intervals.interval("auroc", value, sample_R, smallest=positives)
        percentiles = np.percentile(sample_R[np.isfinite(sample_R)], (2.5, 97.5))
        both = (made.low, made.high), percentiles
        found.append([(low <= area <= high, low > area, high < area) for low, high in both])
    return np.mean(found, axis=0)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("% of the intervals that hold the truth: over patients alone, over patients and draws")
    for case in CASES:
        found = np.concatenate([held(*case, seed) for seed in range(COHORTS)])
        alone, both, gap_alone, gap_both = 100 * found.mean(0)
        _, metric, fraction, tested = case
        print(
            f"{metric:<6} {100 * fraction:3g} % of the labels, {tested:4} test patients: "
            f"score {alone:.1f}, {both:.1f}; difference {gap_alone:.1f}, {gap_both:.1f}",
            flush=True,
        )
    print("% of the intervals of one fit's AUROC that hold it (lie above, below); by percentiles")
    for patients, positives in TESTS:
        for area in AREAS:
            here, by_percentiles = 100 * area_held(area, patients, positives)
            print(
                f"{patients:3} test patients, {positives} positive, AUROC {area}: "
                "{:.1f} ({:.1f}, {:.1f}); {:.1f} ({:.1f}, {:.1f})".format(*here, *by_percentiles),
                flush=True,
            )


if __name__ == "__main__":
    main()
