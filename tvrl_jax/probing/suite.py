"""Everything that is asked of one encoder, and the rows that answer it."""

from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import cache, methods, paired, predictions, rows, tasks
from tvrl_jax.probing.features import Encoder
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.study import Study, plan
from tvrl_jax.results import MINUS

__all__ = ["Encoder", "Results", "plan", "run"]


class Results(NamedTuple):
    rows: list[dict]  # with the columns of results.csv
    notes: list[str]  # sentences that a reader of the rows must see
    arrays: dict[str, np.ndarray]  # see `predictions`


def run(study: Study, out_dir) -> Results:
    """Probes the encoder and its baselines as the configuration (configs/probe_base.py) says.

    study: of `plan`. Writes all predictions to `out_dir`/predictions_KIND.npz. The rows of a paired
    comparison have the method "A - B" (the metric of A minus that of B, same test patients).
    """
    encoder, config, say = study.encoder, study.config, study.say
    method = "supervised" if config.kind == "supervised" else encoder.config.method
    made_by, features = {}, {}
    for task in study.tasks:
        if counts := tasks.counts(task, study.series["test"]):
            say(f"{task.column} in the test series: {counts}")
    for name in (method, *config.baselines):
        say(f"{name}: {config.kind} probe of {', '.join(t.column for t in study.tasks)}")
        made_by[name], found = methods.predict(name, study)
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
    made += rows.count_rows(scores[method], method=method, **names)
    for name, other in (scores | given).items():
        if name != method:
            pair = method + MINUS + name
            made += rows.differences(scores[method], other, method=pair, **names)
    for name, of_method in scores.items():
        made += rows.spread_rows(of_method, method=name, **names)
    return made


def _evaluate(predictions: list[Prediction], study: Study) -> list[rows.Score]:
    test = (study.series["test"], study.subject["test"])
    return rows.evaluate(predictions, *test, **study.config.bootstrap)


def _notes(study: Study, scores: list[rows.Score]) -> list[str]:
    gaps = [_gap(study.store, task) for task in study.tasks if tasks.missing(task)]
    lost = filter(None, [study.store.lost_note()])
    small = rows.warnings(scores, study.series["test"], study.subject["test"])
    return [*gaps, *lost, *small]


def _gap(store, task: tasks.Task) -> str:
    """How many series lack a label; of dated images it may be one that an older one has."""
    lacks_N = ~tasks.labelled(task.value_N)
    text = f"{task.column}: {lacks_N.sum()} of {len(lacks_N)} series have no value"
    if older := (lacks_N & store.known_before(task.column)).sum():
        have = "has" if older == 1 else "have"
        text += f" at their newest image ({older} {have} one at an older one)"
    return f"{text} and are left out."


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
