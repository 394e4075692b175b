"""Everything that is asked of one encoder about time, and the rows that answer it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from tvrl_jax import metrics
from tvrl_jax.probing import cache, check, tasks, untrained, windows
from tvrl_jax.probing.features import Encoder, is_joint, window_settings
from tvrl_jax.probing.tasks import Task
from tvrl_jax.probing.temporal import (
    cosine,
    elapsed,
    findings,
    measured,
    pretext,
    sensitivity,
    shortcuts,
    similarity,
    trajectory,
)
from tvrl_jax.probing.temporal.findings import Findings
from tvrl_jax.probing.temporal.measured import Measured
from tvrl_jax.probing.temporal.pretext import Trained
from tvrl_jax.probing.temporal.sensitivity import Seen
from tvrl_jax.probing.temporal.sight import Sight, look
from tvrl_jax.probing.windows import Windows
from tvrl_jax.results import ABOUT_TIME


class Study(NamedTuple):
    """What every method is measured on."""

    encoder: Encoder
    store: object
    config: object  # of the probe
    settings: dict  # of the windows
    series: dict[str, np.ndarray]  # split -> series of the store
    tables: dict[str, Windows]  # split -> at most temporal.windows windows of a series
    tasks: tuple[Task, ...]
    columns: list[Task]  # of the shortcut probes
    notes: list[str]
    say: Callable[[str], None]


class Results(NamedTuple):
    rows: list[dict]  # with the columns of results.csv
    notes: list[str]  # sentences that a reader of the rows must see
    arrays: dict[str, np.ndarray]  # of temporal.npz
    findings: Findings


def plan(encoder: Encoder, store, config, say) -> Study:
    """What `config`, which `check` has found to be right, asks of this encoder and cohort.

    Raises:
      UserError: a target or the cohort cannot be used; all is found here, in seconds.
    """
    check.cohort(store, encoder.config)
    tasks.check_splits(store)
    wanted = tasks.asked(config.data.targets, encoder.config.data.targets)
    asked = tasks.load(store, wanted) if wanted else ()
    tasks.check_classes(store, asked)
    series = {split: np.asarray(store.split(split)) for split in tasks.SPLITS}
    settings = window_settings(encoder.config, config.features)
    tables = {
        split: windows.spread(windows.cut(store, own, **settings), config.temporal.windows)
        for split, own in series.items()
    }
    # One row for a column: a target is read once, as such.
    read = [name for name in config.temporal.columns if name in {task.column for task in asked}]
    others = [name for name in config.temporal.columns if name not in read]
    columns, left = shortcuts.load(store, others, classes=config.temporal.classes)
    left += [f"{name}: it is a target, and read among those." for name in read]
    notes = [f"Shortcut probe of {line}" for line in left]
    notes += [] if asked else ["No data.targets: what a change of order costs is not measured."]
    return Study(encoder, store, config, settings, series, tables, asked, columns, notes, say)


@jax.default_matmul_precision("float32")  # as every probe of frozen features
def run(study: Study, trained: Trained | None, out_dir) -> Results:
    """Measures the encoder and, where it is among the baselines, the untrained one.

    study: of `plan`. trained: for the alarms that need the heads of pretraining; None = such alarms
    are not judged. Writes temporal.npz into `out_dir`.
    """
    encoder, config, say = study.encoder, study.config, study.say
    cohort = config.data.cohort or encoder.config.data.cohort
    method, made, kept, judged = encoder.config.method, [], _frame_arrays(study), None
    for name in (method, *config.baselines):
        say(f"{name}: does it know time?")
        one = encoder if name == method else _untrained(study)
        sights = {split: _look(name, one, study, split) for split in tasks.SPLITS}
        section, table = config.temporal, study.tables["test"]
        seen = sensitivity.see(sights["test"], table, scale=section.scale, seed=section.seed)
        found = measure(sights, seen, study)
        drawn = _arrays(sights["test"], seen, study)
        made += measured.table(found, method=name, cohort=cohort)
        kept |= {f"{key}/{name}": array for key, array in drawn.items()}
        judged = judged or _judge(found, sights["test"], trained, study)
    for note in study.notes:
        say(note)
    kept |= {"method": np.array(method), "cohort": np.array(cohort)}
    cache.write(Path(out_dir) / ABOUT_TIME, kept)
    return Results(made, study.notes, kept, judged)


def _untrained(study: Study) -> Encoder:
    section, seed = study.config.features, study.config.untrained_seed
    sizes = dict(batches=section.settle_batches, batch_size=section.settle_size)
    return untrained.settled(study.encoder, study.store, seed=seed, **sizes)


def _look(name: str, encoder: Encoder, study: Study, split: str) -> Sight:
    return look(
        encoder,
        study.store,
        study.series[split],
        settings=study.settings,
        batch_size=study.config.features.batch_size,
        folder=study.config.features.cache,
        name=f"{name} {split}",
        say=study.say,
    )


def measure(sights: dict[str, Sight], seen: Seen, study: Study) -> list[Measured]:
    """Every number about one encoder. seen: its test windows."""
    section, bootstrap = study.config.temporal, study.config.bootstrap.to_dict()
    strengths, test = section.strengths, sights["test"]
    cls = {split: sight.cls_ND for split, sight in sights.items()}
    cosines = cosine.cosines(seen.intact_WD, seen.table.series_W, test.subject_N)
    between = (cosines.other_patients, test.subject_N)
    fits = (study.series, test.subject_N, cls, strengths)
    known = {"test": {elapsed.TOKENS: seen.token_WTD, elapsed.UNTIMED: seen.untimed_WTD}}
    asked = dict(known=known, pairs=section.pairs, seed=section.seed)
    frames_N = np.array([study.store.series[i].frames for i in study.series["test"]])
    return [
        *sensitivity.measure(seen, *between, **bootstrap),
        *sensitivity.cost(seen, study.tasks, *fits, **bootstrap),
        *elapsed.measure(sights, study.tables, strengths, **asked, bootstrap=bootstrap),
        *cosine.measure(cosines, test.subject_N, **bootstrap),
        _rank(test),
        *shortcuts.identity(test.frame_FD, frames_N, test.cls_ND, test.subject_N, **bootstrap),
        *shortcuts.measure(study.columns, *fits, **bootstrap),
    ]


def _rank(sight: Sight) -> Measured:
    rank = float(metrics.effective_rank(sight.cls_ND))
    return measured.alone("features", "effective_rank", rank, len(np.unique(sight.subject_N)))


def _judge(found, sight: Sight, trained: Trained | None, study: Study) -> Findings:
    """Only of the pretrained encoder, which comes first."""
    given = (study.store, study.series["test"], trained)
    sizes = dict(size=study.config.temporal.retrieval, seed=study.config.temporal.seed)
    retrieval = pretext.retrieval(*given, **sizes) if trained else None
    target = pretext.target(*given, **sizes) if trained else None
    model = sight.encoder.config.model
    embeds = bool(model.time_embedding) and not is_joint(sight.encoder)
    return findings.gather(found, sight.cls_ND, model, embeds, retrieval, target)


def _frame_arrays(study: Study) -> dict[str, np.ndarray]:
    info = [study.store.series[i] for i in study.series["test"]]
    return {
        "unit": np.array(study.store.time_unit),
        "series": np.array([one.id for one in info]),
        "patient": np.array([one.subject for one in info]),
    }


def _arrays(sight: Sight, seen: Seen, study: Study) -> dict[str, np.ndarray]:
    """The pictures' numbers for one encoder: heat maps and trajectories."""
    section = study.config.temporal
    frames = similarity.centre(similarity.of_series(sight.store, sight.series, sight.frame_FD))
    tokens = similarity.centre(similarity.of_windows(seen.table, seen.token_WTD))
    drawn = trajectory.choose(frames, sight.subject_N, section.subjects)
    made = {"drawn": drawn}
    for name, groups in (("frames", frames), ("tokens", tokens)):
        edge_E = similarity.bins(groups, section.bins)
        made |= {f"edges_{name}": edge_E, f"map_{name}": similarity.heat_map(groups, edge_E)}
    edge_E = made["edges_frames"]
    made["map_drawn"] = np.stack([similarity.heat_map([frames[k]], edge_E) for k in drawn])
    for name, own_mean in (("path", False), ("path_centred", True)):
        traced = trajectory.trace(frames, drawn, own_mean=own_mean)._asdict()
        made |= {f"{name}_{field}": array for field, array in traced.items()}
    return made
