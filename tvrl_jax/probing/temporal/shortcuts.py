"""What a feature knows besides the disease: who it is, where it was taken, sex, age, spacing."""

from collections.abc import Sequence

import numpy as np

from tvrl_jax.data.table import MISSING, states_number
from tvrl_jax.data.targets import class_codes, class_names, numbers
from tvrl_jax.errors import UserError
from tvrl_jax.probing import tasks
from tvrl_jax.probing.tasks import Task
from tvrl_jax.probing.temporal import measured, reading
from tvrl_jax.probing.temporal.cosine import unit
from tvrl_jax.probing.temporal.measured import Measured

IDENTITY = "patient identity"
MOST = 50  # classes of a text: what has more is a note or a date, and would be a fit of each


def load(store, columns: Sequence[str], *, classes: int) -> tuple[list[Task], list[str]]:
    """Tasks of the columns that are there, and sentences about those, and about the test patients,
    that cannot be probed.

    Text, or numbers of at most `classes` different values, are classes. Of neither kind are numbers
    with a cell that is none, and text of more than MOST classes. A class that no training
    patient has, such as a site of the test patients alone, cannot be learned however well the
    features tell it: it would make a shortcut look harmless, and is left out.
    """
    found, left = [], []
    for column in columns:
        if column not in store.text.columns:
            left.append(f"{column}: the cohort has no such column.")
            continue
        try:
            task = _task(column, store, classes)
        except UserError as error:
            left.append(f"{column}: {error}")
            continue
        if lost := _unlearnt(task, store):
            left.append(
                f"{column}: {lost} test patient{'s' * (lost > 1)} of classes that no training "
                f"patient has {'are' if lost > 1 else 'is'} left out."
            )
        splits = {s: task.value_N[store.split(s)] for s in tasks.SPLITS}
        poor = [s for s, value_N in splits.items() if len(np.unique(_known(value_N))) < 2]
        if poor:
            left.append(f"{column}: fewer than two different values in the {poor[0]} split.")
        else:
            found.append(task)
    return found, left


def _known(value_N: np.ndarray) -> np.ndarray:
    return value_N[np.isfinite(value_N)]


def _task(column: str, store, classes: int) -> Task:
    """Raises UserError for a column that is neither numbers nor classes."""
    cell_N = store.text[column]
    names = class_names(cell_N)
    try:
        value_N = numbers(cell_N, store.where)
    except UserError:
        if len(names) > classes and _mostly_numbers(cell_N):
            raise
        value_N = None  # text
        if len(names) > MOST:
            raise UserError(
                f"its text is of {len(names)} classes, more than {MOST}: join some, or leave it "
                "out of temporal.columns."
            ) from None
    if value_N is None or len(names) <= classes:
        trained = cell_N.iloc[store.split("train")]
        names = class_names(trained)
        value_N = class_codes(cell_N, names)
        return Task(column, "classification", names, value_N.astype(np.float32))
    return Task(column, "regression", (), value_N.astype(np.float32))


def _mostly_numbers(cell_N) -> bool:
    known = [text for text in cell_N if text not in MISSING]
    return 2 * sum(map(states_number, known)) > len(known)


def _unlearnt(task: Task, store) -> int:
    """Test patients with a series whose class is not among those of the task."""
    if not task.classes:
        return 0
    test, cell_N = store.split("test"), store.text[task.column]
    every_N = class_codes(cell_N, class_names(cell_N))
    lost_N = np.isfinite(every_N[test]) & ~np.isfinite(task.value_N[test])
    return len(np.unique(np.asarray(store.subject_index)[test][lost_N]))


def measure(asked: Sequence[Task], series, subject_N, cls: dict, strengths, **bootstrap):
    """Each column read from cls_ND, with all labels. Rows of the columns' names."""
    if not asked:
        return []
    made = reading.predict(asked, series, cls, strengths)
    scores = reading.score(made, series["test"], subject_N, **bootstrap)
    return [measured.of_score(score) for score in scores]


def retrieve(query_QD, key_KD, query_Q, key_K, allowed_QK=None) -> tuple[np.ndarray, np.ndarray]:
    """For each query the share of its nearest keys that are its own, and what guessing gives.

    query_Q and key_K name the patients; keys as near as the nearest share the vote. Features are
    centred by the mean of the keys. allowed_QK: which keys are offered; NaN without one of the own.
    """
    if allowed_QK is None:
        allowed_QK = np.ones((len(query_Q), len(key_K)), bool)
    mean_D = np.asarray(key_KD, np.float64).mean(0)
    cosine_QK = unit(query_QD - mean_D) @ unit(key_KD - mean_D).T
    cosine_QK = np.where(allowed_QK, cosine_QK, -np.inf)
    own_QK = (query_Q[:, None] == key_K[None, :]) & allowed_QK
    nearest_QK = allowed_QK & (cosine_QK >= cosine_QK.max(1, keepdims=True) - 1e-9)
    hit_Q = (nearest_QK & own_QK).sum(1) / np.maximum(nearest_QK.sum(1), 1)
    chance_Q = own_QK.sum(1) / np.maximum(allowed_QK.sum(1), 1)
    has_Q = own_QK.any(1)
    return np.where(has_Q, hit_Q, np.nan), np.where(has_Q, chance_Q, np.nan)


def identity(
    frame_FD, frames_N: np.ndarray, cls_ND, subject_N: np.ndarray, **bootstrap
) -> list[Measured]:
    """Top-1 retrieval of a patient, with chance: by the last frame of any of the patient's series
    from the first one of a series (series of several frames), and by a series from the patient's
    other ones (two eyes, slices)."""
    last_N = np.cumsum(frames_N) - 1
    several = np.flatnonzero(frames_N > 1)
    found = []
    if len(several):
        first_ND, key_ND = frame_FD[(last_N - frames_N + 1)[several]], frame_FD[last_N[several]]
        patient = subject_N[several]
        own = retrieve(first_ND, key_ND, patient, patient)
        found += _rows(f"{IDENTITY}, first and last frame", own, patient, **bootstrap)
    others_NN = ~np.eye(len(subject_N), dtype=bool)
    of_series = retrieve(cls_ND, cls_ND, subject_N, subject_N, others_NN)
    if np.isfinite(of_series[0]).any():
        found += _rows(f"{IDENTITY}, another series", of_series, subject_N, **bootstrap)
    return found


def _rows(task: str, pair, subject_N, **bootstrap) -> list[Measured]:
    names = zip(("top1", "top1_chance"), pair, strict=True)
    return [measured.mean(task, name, value_N, subject_N, **bootstrap) for name, value_N in names]
