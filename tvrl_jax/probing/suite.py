"""Everything that is asked of one encoder, and the rows that answer it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import (
    cache,
    check,
    cls,
    constant,
    finetune,
    knn,
    linear,
    paired,
    predictions,
    problem,
    rows,
    sampling,
    tasks,
    untrained,
    windows,
)
from tvrl_jax.probing.features import Encoder, Features, compute, window_settings
from tvrl_jax.probing.problem import Prediction, Problem
from tvrl_jax.probing.tasks import Task

__all__ = ["Encoder", "Results", "run"]


class Results(NamedTuple):
    rows: list[dict]  # with the columns of results.csv
    notes: list[str]  # sentences that a reader of the rows must see
    arrays: dict[str, np.ndarray]  # see `predictions`


class Study(NamedTuple):
    """What every method is measured on."""

    store: object
    config: object  # of the probe
    settings: dict  # of the windows
    series: dict[str, np.ndarray]  # split -> series of the store
    subject: dict[str, np.ndarray]
    tasks: tuple[Task, ...]
    problems: list[Problem]
    others: list[paired.Measured]  # other probes to compare with
    say: Callable[[str], None]


def run(encoder: Encoder, store, config, out_dir, say: Callable[[str], None] = print) -> Results:
    """Probes the encoder and its baselines as `config` (configs/probe_base.py) says.

    Writes all predictions to `out_dir`/predictions_KIND.npz. The rows of a paired comparison have
    the method "A - B" (the metric of A minus that of B, same test patients).

    Raises:
      UserError: a setting, a target, a fraction or the cohort cannot be used.
    """
    study = plan(encoder, store, config, say)
    method = "supervised" if config.kind == "supervised" else encoder.config.method
    made_by, features = {}, {}
    for name in (method, *config.baselines):
        say(f"{name}: {config.kind} probe of {', '.join(t.column for t in study.tasks)}")
        made_by[name], found = _predict(name, encoder, study)
        features |= {} if found is None else {name: found}
    scores = {name: _evaluate(p, study) for name, p in made_by.items()}
    names = dict(cohort=config.data.cohort or encoder.config.data.cohort, probe=config.kind)
    made = _rows(study, method, scores, names)
    notes = _notes(study, scores[method])
    for note in notes:
        say(note)
    kept = arrays(study, made_by, features, method=method, **names)
    cache.write(predictions.place(out_dir, config.kind), kept)
    return Results(made, notes, kept)


def _rows(study: Study, method: str, scores: dict, names: dict) -> list[dict]:
    """Scores of every method, then the differences of `method` to every other."""
    bootstrap = study.config.bootstrap
    given = {other.name: paired.scores(other, **bootstrap) for other in study.others}
    made = [
        row for name, s in (scores | given).items() for row in rows.rows(s, method=name, **names)
    ]
    made += rows.class_rows(scores[method], method=method, **names)
    for name, other in (scores | given).items():
        if name != method:
            pair = f"{method} - {name}"
            made += rows.differences(scores[method], other, method=pair, **names)
    for name, of_method in scores.items():
        made += rows.spread_rows(of_method, method=name, **names)
    return made


def plan(encoder: Encoder, store, config, say) -> Study:
    """All that can be wrong with settings, targets and fractions is found here, in seconds."""
    check.config(config)
    check.cohort(store, encoder.config)
    asked = tasks.load(store, config.data.targets or encoder.config.data.targets)
    series = {split: np.asarray(store.split(split)) for split in tasks.SPLITS}
    subject = {split: np.asarray(store.subject_index)[i] for split, i in series.items()}
    counts = dict(fractions=config.fractions, seeds=config.seeds, restarts=config.restarts)
    draws = sampling.draws(asked, series["train"], subject["train"], **counts)
    settings = window_settings(encoder.config, config.features)
    problems = problem.group(draws, series)
    others = _others(store, series["test"], draws, config)
    return Study(store, config, settings, series, subject, asked, problems, others, say)


def _others(store, test, draws, config) -> list[paired.Measured]:
    """Other probes, named METHOD (FOLDER), on exactly the test series of this one."""
    info = [store.series[i] for i in test]
    names = (np.array([one.id for one in info]), np.array([one.subject for one in info]))
    asked = {d.task.column: d.task._replace(value_N=d.task.value_N[test]) for d in draws}
    fits = [Prediction(draw, np.zeros(0), {}) for draw in draws]
    mine = paired.Measured("to be", "this probe", "", config.kind, *names, asked, fits)
    found = [paired.aligned(mine, paired.load(f, config.kind)) for f in config.against]
    return [other._replace(name=f"{other.name} ({other.folder})") for other in found]


def _predict(name: str, encoder: Encoder, study: Study):
    """Predictions of a method, and its features where it is frozen (else None)."""
    kind, seed = study.config.kind, study.config.untrained_seed
    if name == "constant":
        count = len(study.series["test"])
        return [p for part in study.problems for p in constant.fit(part, count)], None
    if kind in ("finetune", "supervised"):
        fresh = kind == "supervised" or name == "untrained"
        return _train(untrained.fresh(encoder, seed=seed) if fresh else encoder, study), None
    if name == "untrained":
        section = study.config.features
        encoder = untrained.settled(
            encoder,
            study.store,
            seed=seed,
            batches=section.settle_batches,
            batch_size=section.settle_size,
        )
    features = _features(name, encoder, study)
    return _probe(encoder, features, study), features


def _features(name: str, encoder: Encoder, study: Study) -> dict[str, Features]:
    return {
        split: compute(
            encoder,
            study.store,
            series,
            settings=study.settings,
            batch_size=study.config.features.batch_size,
            folder=study.config.features.cache,
            name=f"{name} {split}",
            say=study.say,
        )
        for split, series in study.series.items()
    }


def _probe(encoder: Encoder, features: dict[str, Features], study: Study) -> list[Prediction]:
    """One of the probes of frozen features."""
    config = study.config
    settings = config[config.kind].to_dict()
    if config.kind == "cls":
        clips = {s: cls.Clips(f.frame_FD, _windows(study, s)) for s, f in features.items()}
        return [p for part in study.problems for p in cls.fit(encoder, clips, part, **settings)]
    field = {"cls": "cls_ND", "token": "token_ND"}[settings.pop("feature")]
    matrix = {split: getattr(f, field) for split, f in features.items()}
    fit = {"linear": linear.fit, "knn": knn.fit}[config.kind]
    return [p for part in study.problems for p in fit(matrix, part, **settings)]


def _windows(study: Study, split: str) -> windows.Windows:
    return windows.cut(study.store, study.series[split], **study.settings)


def _train(encoder: Encoder, study: Study) -> list[Prediction]:
    """Fine-tuning, or supervised learning when the encoder is fresh."""
    tables = {split: _windows(study, split) for split in tasks.SPLITS}
    source = finetune.Source(study.store, study.series, tables, study.settings)
    settings = dict(**study.config.finetune, augment=study.config.augment.to_dict())
    return [p for part in study.problems for p in finetune.fit(encoder, source, part, **settings)]


def _evaluate(predictions: list[Prediction], study: Study) -> list[rows.Score]:
    test = (study.series["test"], study.subject["test"])
    return rows.evaluate(predictions, *test, **study.config.bootstrap)


def _notes(study: Study, scores: list[rows.Score]) -> list[str]:
    total = len(study.store.series)
    lost = [(task.column, tasks.missing(task)) for task in study.tasks]
    gaps = [f"{c}: {n} of {total} series have no value and are left out." for c, n in lost if n]
    return gaps + rows.warnings(scores, study.series["test"], study.subject["test"])


def arrays(study: Study, made_by, features, **names) -> dict[str, np.ndarray]:
    """What `predictions` describes; names: method, cohort and probe."""
    test = study.series["test"]
    info = [study.store.series[i] for i in test]
    kept = {name: np.array(text) for name, text in names.items()}
    kept["series"] = np.array([one.id for one in info])
    kept["patient"] = np.array([one.subject for one in info])
    kept |= predictions.of_tasks(study.tasks, test)
    for method, made in made_by.items():
        kept |= predictions.of_method(method, made)
    return kept | {f"feature/{method}": f["test"].cls_ND for method, f in features.items()}
