"""From predictions to the rows of results.csv."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import delong, stats, variance
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.tasks import Task, groups, labelled

ALL = "all"  # seed of the row that averages over the seeds
FEW = 10  # test patients per class; fewer earn a warning
PER_CLASS = "patients_per_class"  # metric of the row that lets a table carry that warning
# A score that knows nothing is expected above a constant one, so that the difference has no null.
ABOVE_CONSTANT = "average_precision"


class Score(NamedTuple):
    """One metric of the predictions of one (task, fraction, seed) or of all seeds."""

    task: Task
    fraction: float
    seed: int | str
    metric: str
    interval: stats.Interval
    sample_R: np.ndarray  # the metric in each resample; NaN where not defined
    patients: int
    per_class: float  # test patients of the smallest class; NaN where there are no classes
    components: delong.Components | None  # of an AUROC of two classes, one series per patient
    fits_SR: np.ndarray  # the metric of each fit behind this score: draws x restarts
    flat: bool  # the same output for every test series, as of the constant predictor


def evaluate(
    predictions: Sequence[Prediction], series_N, subject_N, *, samples: int, seed: int
) -> list[Score]:
    """Scores of all predictions of one method; the resamples depend on the task and `seed` only.

    series_N and subject_N are those of the test split. The score of a seed is the mean over its
    restarts. After the seeds of a fraction comes the row `all`: the mean over seeds, and the same
    patients resampled for every seed at once. Its interval is that of the expected result of one
    training run, not of an ensemble.
    """
    scores = []
    for task in dict.fromkeys(p.draw.task.column for p in predictions):
        own = [p for p in predictions if p.draw.task.column == task]
        value_N = own[0].draw.task.value_N[series_N]
        labelled_N = labelled(value_N)
        patient_N = subject_N[labelled_N]
        weight_RN = stats.resample(patient_N, samples=samples, seed=seed)
        counts = len(np.unique(patient_N)), _smallest(own[0].draw.task, value_N, subject_N)
        for fraction in dict.fromkeys(p.draw.fraction for p in own):
            per_seed = {}
            for p in (p for p in own if p.draw.fraction == fraction):
                made = _score(p, value_N[labelled_N], p.test_NK[labelled_N], weight_RN, counts)
                per_seed.setdefault(p.draw.seed, []).append(made)
            draws = [_over_restarts(fits) for fits in per_seed.values()]
            scores += [score for draw in draws for score in draw]
            scores += [mean(of_metric) for of_metric in zip(*draws, strict=True)]
    return scores


def _over_restarts(fits: Sequence[Sequence[Score]]) -> list[Score]:
    """One score per metric for one draw."""
    return [mean(alike, axis=1)._replace(seed=alike[0].seed) for alike in zip(*fits, strict=True)]


def per_class(task: Task, value_N, subject_N) -> dict[str, int]:
    """Name of a class (survival: "event") -> test patients with a series of it."""
    of = groups(task, value_N)
    return {name: len(np.unique(subject_N[own_N])) for name, own_N in of.items()}


def _smallest(task: Task, value_N, subject_N) -> float:
    return min(per_class(task, value_N, subject_N).values(), default=np.nan)


def _score(prediction: Prediction, label_N, output_NK, weight_RN, counts) -> list[Score]:
    draw = prediction.draw
    scores = []
    for name, metric in stats.metrics(draw.task.kind, draw.task.clock).items():
        value = metric(label_N, output_NK, stats.once(len(label_N)))[0]
        sample_R = metric(label_N, output_NK, weight_RN)
        made = stats.interval(value, sample_R)
        of_auroc = name == "auroc" and counts[0] == len(label_N)
        parts = _components(draw.task, label_N, output_NK) if of_auroc else None
        key = draw.task, draw.fraction, draw.seed, name
        fits_SR = np.full((1, 1), value)
        flat = bool((output_NK == output_NK[:1]).all())
        scores.append(Score(*key, made, sample_R, *counts, parts, fits_SR, flat))
    return scores


def _components(task: Task, label_N, output_NK) -> delong.Components | None:
    """None with more than two classes, or where the test set lacks one of the two."""
    if len(task.classes) != 2 or len(np.unique(label_N)) < 2:
        return None
    return delong.components(label_N == 1, output_NK[:, 1])


def mean(scores: Sequence[Score], axis: int = 0) -> Score:
    """The expected score of one fit: the same patients are drawn for every fit at once.

    axis: of `fits_SR`, along which the scores lie: 0 = draws, 1 = restarts.
    """
    value = np.mean([score.interval.value for score in scores])
    sample_R = np.mean([score.sample_R for score in scores], axis=0)
    components = [score.components for score in scores]
    return scores[0]._replace(
        seed=ALL,
        interval=stats.interval(value, sample_R),
        sample_R=sample_R,
        components=None if any(c is None for c in components) else delong.mean(components),
        fits_SR=np.concatenate([score.fits_SR for score in scores], axis),
        flat=any(score.flat for score in scores),
    )


def rows(scores: Sequence[Score], *, method: str, cohort: str, probe: str) -> list[dict]:
    """One dict per score, with the columns of results.csv."""
    return [_row(score, method, cohort, probe, score.metric, score.interval) for score in scores]


def class_rows(scores: Sequence[Score], *, method: str, cohort: str, probe: str) -> list[dict]:
    """One row per (task, fraction) with classes: the test patients of the smallest class."""
    made = {}
    for score in (s for s in scores if s.seed == ALL and np.isfinite(s.per_class)):
        count = stats.Interval(score.per_class, np.nan, np.nan, 0)
        key = score.task.column, score.fraction
        made[key] = _row(score, method, cohort, probe, PER_CLASS, count)
    return list(made.values())


def spread_rows(scores: Sequence[Score], *, method: str, cohort: str, probe: str) -> list[dict]:
    """METRIC_sd_draw and METRIC_sd_optimisation of every metric with restarts; see `variance`.

    The first needs two seeds. A probe without a random start (knn) has 0 for the second.
    """
    made = []
    for score in (s for s in scores if s.seed == ALL and s.fits_SR.shape[1] > 1):
        for name, found in variance.split(score.fits_SR)._asdict().items():
            if np.isfinite(found.value):
                metric = f"{score.metric}_sd_{name}"
                made.append(_row(score, method, cohort, probe, metric, found))
    return made


def differences(
    scores: Sequence[Score], others: Sequence[Score], *, method: str, cohort: str, probe: str
) -> list[dict]:
    """Paired rows: the metric of `scores` minus that of `others`, all seeds, same test patients.

    `method` is "A - B". Rows: METRIC with the interval of the difference; METRIC_p, the two-sided
    probability of a difference this large if there were none, from the resampled patients; and
    auroc_p_delong, that of DeLong's test, where every patient has one test series: the test takes
    cases for independent, which two series of one patient are not.

    An average precision minus that of a constant predictor has neither interval nor p: labels
    drawn at random earn a ranking more than their prevalence, which is what a constant one has,
    and a resample that draws a positive twice adds to it.
    """
    by_key = {_key(score): score for score in others}
    made = []
    for score in (s for s in scores if s.seed == ALL):
        other = by_key[_key(score)]
        value = score.interval.value - other.interval.value
        if score.metric == ABOVE_CONSTANT and (score.flat or other.flat):
            untold = stats.Interval(value, np.nan, np.nan, 0)
            made.append(_row(score, method, cohort, probe, score.metric, untold))
            continue
        gap = stats.difference(value, score.sample_R, other.sample_R)
        made.append(_row(score, method, cohort, probe, score.metric, gap))
        found = {f"{score.metric}_p": gap.p}
        if score.components and other.components:
            test = delong.difference(score.components, other.components)
            found[f"{score.metric}_p_delong"] = test.p
        for name, p in found.items():
            alone = stats.Interval(p, np.nan, np.nan, 0)
            made.append(_row(score, method, cohort, probe, name, alone))
    return made


def _key(score: Score) -> tuple:
    return score.task.column, score.fraction, score.seed, score.metric


def _row(score: Score, method: str, cohort: str, probe: str, metric: str, interval) -> dict:
    return {
        "method": method,
        "cohort": cohort,
        "task": score.task.column,
        "probe": probe,
        "fraction": score.fraction,
        "seed": score.seed,
        "metric": metric,
        "value": float(interval.value),
        "ci_low": float(interval.low),
        "ci_high": float(interval.high),
        "n": score.patients,
    }


def warnings(scores: Sequence[Score], series_N, subject_N) -> list[str]:
    """Sentences about test sets that are too small, and resamples that had to be left out."""
    found = []
    for task in {score.task.column: score.task for score in scores}.values():
        value_N = task.value_N[series_N]
        for name, patients in per_class(task, value_N, subject_N).items():
            if patients < FEW:
                found.append(
                    f'{task.column}: only {patients} test patients of class "{name}"; '
                    f"with fewer than {FEW} per class the numbers say little."
                )
        lost = max(s.interval.degenerate for s in scores if s.task.column == task.column)
        if lost:
            found.append(
                f"{task.column}: {lost} of {len(scores[0].sample_R)} resamples held one class or "
                "one value only and are left out of the intervals."
            )
    return found
