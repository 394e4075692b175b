"""From predictions to the rows of results.csv."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import delong, intervals, ranks, stats, survival_metrics, variance
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.tasks import Task, groups, labelled
from tvrl_jax.results import ALL, FEW, P_METHODS, PATIENTS_OF, PER_CLASS, P

# Why a metric is not defined in a resample. Of three classes two are not enough: each is one that
# the others are held against.
LACKED = {
    "regression": "held one value only",
    "classification": "lacked a class",
    "survival": "held nobody, or no two, whom a metric could judge",
}

# pretrainings of a method: of two the spread is known so badly that methods that are alike differ
# in 13 % of the comparisons, of three in 6 % (`python -m benchmarks.pretrainings`; 5 % is right)
ENOUGH = 3


class Score(NamedTuple):
    """One metric of the predictions of one (task, fraction, seed) or of all seeds."""

    task: Task
    fraction: float
    seed: int | str
    metric: str
    interval: intervals.Interval
    sample_R: np.ndarray  # the metric in each resample of patients; NaN where not defined
    patients: int
    per_class: float  # test patients of the smallest class; NaN where there are no classes
    resting: float  # those of the smallest group that this metric needs; NaN where it needs none
    effective: float  # the smallest effective number of patients of the groups behind the metric
    components: delong.Components | None  # of an AUROC of two classes, one series per patient
    fits_SR: np.ndarray  # the metric of each fit behind this score: draws x restarts
    draws: dict[int, float]  # seed of a draw of labels -> the mean metric of its fits
    # seed of a pretraining -> the mean metric of its fits; empty of one encoder
    pretrainings: Mapping[int, float] = MappingProxyType({})


def evaluate(
    predictions: Sequence[Prediction], series_N, subject_N, *, samples: int, seed: int
) -> list[Score]:
    """Scores of all predictions of one method; the resamples depend on the task and `seed` only.

    series_N and subject_N are those of the test split. The score of a seed is the mean over its
    restarts. After the seeds of a fraction comes the row `all`: the mean over seeds, and the same
    patients resampled for every seed at once. Its interval is that of the expected result of one
    training run, not of an ensemble: over patients and over draws of labels (`intervals`).
    """
    scores = []
    for task in dict.fromkeys(p.draw.task.column for p in predictions):
        own = [p for p in predictions if p.draw.task.column == task]
        value_N = own[0].draw.task.value_N[series_N]
        labelled_N = labelled(value_N)
        patient_N = subject_N[labelled_N]
        weight_RN = stats.resample(patient_N, samples=samples, seed=seed)
        counts = _counts(own[0].draw.task, value_N, subject_N)
        for fraction in dict.fromkeys(p.draw.fraction for p in own):
            per_seed, known = {}, []
            for p in (p for p in own if p.draw.fraction == fraction):
                made = _known(p, known)
                if made is None:
                    made = _score(p, value_N[labelled_N], p.test_NK[labelled_N], weight_RN, counts)
                    known.append((p.test_NK, made))
                per_seed.setdefault(p.draw.seed, []).append(made)
            draws = [_over_restarts(fits) for fits in per_seed.values()]
            scores += [score for draw in draws for score in draw]
            scores += [mean(of_metric) for of_metric in zip(*draws, strict=True)]
    return scores


def _known(prediction: Prediction, known) -> list[Score] | None:
    """The scores of the same predictions, if there were any: with all labels every seed draws the
    same patients, from whom a fit without a random start learns the same."""
    for test_NK, scores in known:
        if np.array_equal(test_NK, prediction.test_NK):
            seed = prediction.draw.seed
            return [s._replace(seed=seed, draws={seed: s.draws[s.seed]}) for s in scores]
    return None


def _over_restarts(fits: Sequence[Sequence[Score]]) -> list[Score]:
    """One score per metric for one draw."""
    return [mean(alike, axis=1)._replace(seed=alike[0].seed) for alike in zip(*fits, strict=True)]


class Group(NamedTuple):
    """Test patients with a series of some kind."""

    patients: int
    effective: float  # `stats.effective`


class Counts(NamedTuple):
    """Test patients behind the numbers of a task."""

    labelled: Group
    per_class: dict[str, Group]  # name of a class (survival: "event") -> those with a series of it
    # metric -> what it needs besides, such as "free of the event after 2" -> those with it
    per_metric: dict[str, dict[str, Group]]

    def effective(self, metric: str) -> float:
        """Of the group behind the metric that is worth least. A class that no test patient has is
        behind no number: it does not enter the mean over the classes."""
        classes = (group for group in self.per_class.values() if group.patients)
        behind = (self.labelled, *classes, *self.per_metric.get(metric, {}).values())
        return min(group.effective for group in behind)


def _counts(task: Task, value_N, subject_N) -> Counts:
    """value_N and subject_N: of all test series."""

    def group(own_N) -> Group:
        return Group(len(np.unique(subject_N[own_N])), stats.effective(subject_N[own_N]))

    needs = survival_metrics.needs(value_N, task.clock) if task.clock else {}
    return Counts(
        group(labelled(value_N)),
        {name: group(own_N) for name, own_N in groups(task, value_N).items()},
        {m: {name: group(own_N) for name, own_N in of.items()} for m, of in needs.items()},
    )


def _fewest(groups: Mapping[str, Group]) -> float:
    """NaN of none."""
    return min((group.patients for group in groups.values()), default=np.nan)


def few(score: Score) -> bool:
    """Whether it rests on so few test patients that nothing is concluded from it.

    Student's t keeps its promise with three patients, if they are like all others; so few cannot
    tell that they are.
    """
    return bool(np.nanmin([score.patients, score.per_class, score.resting]) < FEW)


def smallest(*scores: Score) -> float:
    """The effective number of test patients of the smallest group behind them."""
    return min(score.effective for score in scores)


def _score(prediction: Prediction, label_N, output_NK, weight_RN, counts: Counts) -> list[Score]:
    draw, patients = prediction.draw, counts.labelled.patients
    per_class, scores = _fewest(counts.per_class), []
    for name, metric in stats.metrics(draw.task.kind, draw.task.clock).items():
        value = metric(label_N, output_NK, stats.once(len(label_N)))[0]
        sample_R = metric(label_N, output_NK, weight_RN)
        of_auroc = name == "auroc" and patients == len(label_N)
        parts = _components(draw.task, label_N, output_NK) if of_auroc else None
        key = draw.task, draw.fraction, draw.seed, name
        fits_SR, draws = np.full((1, 1), value), {draw.seed: float(value)}
        effective = counts.effective(name)
        made = _interval(name, value, sample_R, (), patients, effective)
        sizes = patients, per_class, _fewest(counts.per_metric.get(name, {})), effective
        scores.append(Score(*key, made, sample_R, *sizes, parts, fits_SR, draws))
    return scores


def _interval(
    metric: str, value: float, sample_R, draws, patients: int, effective: float
) -> intervals.Interval:
    """Over patients and draws of labels. One patient has no interval: each of its resamples is this
    one again."""
    if patients < 2:
        return intervals.Interval(float(value), np.nan, np.nan, 0)
    return intervals.interval(metric, value, sample_R, smallest=effective, draws=draws)


def _components(task: Task, label_N, output_NK) -> delong.Components | None:
    """None with more than two classes, where the test set lacks one of the two, or a prediction is
    NaN."""
    if len(task.classes) != 2 or len(np.unique(label_N)) < 2 or np.isnan(output_NK).any():
        return None
    return delong.components(label_N == 1, ranks.of_class(output_NK, 1))


def mean(scores: Sequence[Score], axis: int = 0) -> Score:
    """The expected score of one fit: the same patients are drawn for every fit at once.

    axis: of `fits_SR`, along which the scores lie: 0 = draws (or pretrainings), 1 = restarts.
    A draw is one and the same in all restarts and pretrainings, so that these are averaged first:
    the interval holds the spread of the draws alone.
    """
    value = np.mean([score.interval.value for score in scores])
    sample_R = np.mean([score.sample_R for score in scores], axis=0)
    components = [score.components for score in scores]
    seeds = dict.fromkeys(seed for score in scores for seed in score.draws)
    draws = {k: float(np.mean([s.draws[k] for s in scores if k in s.draws])) for k in seeds}
    first = scores[0]
    of_draws, sizes = [np.array(list(draws.values()))], (first.patients, first.effective)
    return first._replace(
        seed=ALL,
        interval=_interval(first.metric, value, sample_R, of_draws, *sizes),
        sample_R=sample_R,
        components=None if any(c is None for c in components) else delong.mean(components),
        fits_SR=np.concatenate([score.fits_SR for score in scores], axis),
        draws=draws,
    )


def rows(scores: Sequence[Score], *, method: str, cohort: str, probe: str) -> list[dict]:
    """One dict per score, with the columns of results.csv."""
    return [_row(score, method, cohort, probe, score.metric, score.interval) for score in scores]


def count_rows(scores: Sequence[Score], *, method: str, cohort: str, probe: str) -> list[dict]:
    """The test patients of the smallest class, one row per (task, fraction) with classes, and those
    of the smallest group that a metric needs, one row per metric that needs any."""
    made = {}
    for score in (s for s in scores if s.seed == ALL):
        counts = {PER_CLASS: score.per_class, PATIENTS_OF + score.metric: score.resting}
        for name, patients in counts.items():
            if np.isfinite(patients):
                count = intervals.Interval(patients, np.nan, np.nan, 0)
                key = score.task.column, score.fraction, name
                made[key] = _row(score, method, cohort, probe, name, count)
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
    cases for independent, which two series of one patient are not. All of them contain the spread
    over the draws of labels, as `mean` does. Where both sides have ENOUGH pretrainings in common,
    METRIC_p_methods, too, whose error contains the spread over these: the others are of these
    encoders, and know of no other pretraining.

    No difference of so `few` test patients has a p.
    """
    by_key = {_key(score): score for score in others}
    made = []
    for score in (s for s in scores if s.seed == ALL):
        other = by_key[_key(score)]
        value = score.interval.value - other.interval.value
        draws, (low, high) = _draws_apart(score.draws, other.draws), intervals.bounds(score.metric)
        pair = value, score.sample_R, other.sample_R
        about = dict(smallest=smallest(score, other), draws=draws)
        gap = intervals.difference(*pair, **about, limits=(low - high, high - low))
        if score.patients < 2:
            gap = gap._replace(low=np.nan, high=np.nan)
        made.append(_row(score, method, cohort, probe, score.metric, gap))
        if few(score) or few(other):
            continue
        found = {score.metric + P: gap.p}
        shared = [seed for seed in score.pretrainings if seed in other.pretrainings]
        if len(shared) >= ENOUGH:
            apart_S = np.array([score.pretrainings[k] - other.pretrainings[k] for k in shared])
            about["draws"] = [*draws, apart_S]
            found[score.metric + P_METHODS] = intervals.difference(*pair, **about).p
        if score.components and other.components:
            test = delong.difference(score.components, other.components, draws)
            found[f"{score.metric}_p_delong"] = test.p
        for name, p in found.items():
            alone = intervals.Interval(p, np.nan, np.nan, 0)
            made.append(_row(score, method, cohort, probe, name, alone))
    return made


def _draws_apart(a: dict[int, float], b: dict[int, float]) -> list[np.ndarray]:
    """The difference of each draw where both sides have the same; else the draws of each side."""
    if a.keys() == b.keys():
        return [np.array([a[seed] - b[seed] for seed in a])]
    return [np.array(list(side.values())) for side in (a, b)]


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
    """Sentences about test sets that are too small, or too unequal, and resamples that had to be
    left out."""
    found = []
    for task in {score.task.column: score.task for score in scores}.values():
        counts = _counts(task, task.value_N[series_N], subject_N)
        found += _about_few(task, counts) + _about_unequal(task, counts)
        lost = max(s.interval.degenerate for s in scores if s.task.column == task.column)
        if lost:
            found.append(
                f"{task.column}: {lost} of {len(scores[0].sample_R)} resamples {LACKED[task.kind]} "
                "and are left out of the intervals."
            )
    return found


def _about_few(task: Task, counts: Counts) -> list[str]:
    column, found = task.column, []
    if counts.labelled.patients < FEW:
        found.append(_warning(column, counts.labelled.patients, "", "", "the numbers"))
    for name, (patients, _) in counts.per_class.items():
        if task.kind == "survival" and patients < FEW:
            found.append(_warning(column, patients, " with the event", "", "the numbers"))
        elif not patients:
            found.append(
                f'{column}: no test patient is of class "{name}", which does not enter the mean '
                "over the classes."
            )
        elif patients < FEW:
            which = f' of class "{name}"'
            found.append(_warning(column, patients, which, " per class", "the numbers"))
    groups = {name: group for of in counts.per_metric.values() for name, group in of.items()}
    for name, (patients, _) in groups.items():
        if patients < FEW:
            resting = [metric for metric, of in counts.per_metric.items() if name in of]
            found.append(_warning(column, patients, f" {name}", "", " and ".join(resting)))
    return found


def _about_unequal(task: Task, counts: Counts) -> list[str]:
    """Of groups that are not few, and yet worth no more than few are."""
    words = " with the event" if task.kind == "survival" else ' of class "{}"'
    named = {"": counts.labelled}
    named |= {words.format(name): group for name, group in counts.per_class.items()}
    named |= {f" {name}": group for of in counts.per_metric.values() for name, group in of.items()}
    return [
        f"{task.column}: {group.patients} test patients{which} have such unequal numbers of series "
        f"that they are worth {group.effective:.1f} with as many each: intervals and p are those "
        f"of so many, and with fewer than {FEW} say little."
        for which, group in named.items()
        if group.patients >= FEW > group.effective
    ]


def _warning(column: str, patients: int, which: str, per: str, what: str) -> str:
    return (
        f"{column}: only {patients} test patient{'s' * (patients != 1)}{which}; with fewer than "
        f"{FEW}{per}, {what} say little, and no difference has a p or a mark."
    )
