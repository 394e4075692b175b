"""What the head of a supervised run learned its numbers to mean, the same after every resumption.

A class is a position in the sorted names of its column, and a regression is measured from the mean
of the training series. Both come from the table, which may have changed between two starts. They
are therefore written into the run's folder when it begins, and a run that goes on reads them.
"""

import json
import logging
from pathlib import Path

from ml_collections import FrozenConfigDict

from tvrl_jax.data.store import Store
from tvrl_jax.errors import UserError, shorten
from tvrl_jax.files import artefacts, run_folder, whole_file
from tvrl_jax.step import Learner

FILE = "labels.json"
MEASURES = ("centre", "scale")  # of the rule of `objectives.supervised`
LOG = logging.getLogger("tvrl_jax")


def hold(folder: Path, learner: Learner, store: Store | None) -> Learner:
    """The learner with the measures that the run in `folder` began with. Writes nothing.

    A run that learns no labels, or is from before they were kept, stays as it is.

    Raises UserError where there are other columns now, or the same in another order, or a column
    has other classes: the head, which knows them by position, would take one for another.
    """
    before = _read(folder) if _learns(learner) else None
    if before is None:
        return learner
    names = {column: list(found) for column, found in store.class_names().items()}
    if list(before["classes"]) != list(names):
        was, now = (shorten(", ".join(found)) for found in (before["classes"], names))
        raise UserError(
            f"{store.where}: the run in {folder} began with the targets {was}, in this order, and "
            f"now they are {now}; restore data.targets, or name another --workdir."
        )
    other = [c for c in names if before["classes"][c] != names[c]]
    if other:
        was, now = (shorten(str(found.get(other[0]))) for found in (before["classes"], names))
        raise UserError(
            f'{store.where}, column "{other[0]}": the run in {folder} began with the classes '
            f"{was}, and now there are {now}; restore the labels, or name another --workdir."
        )
    held = {name: tuple(before[name]) for name in MEASURES}
    if any(tuple(learner.rule[name]) != held[name] for name in MEASURES):
        LOG.warning(
            "the training labels are not those that the run began with; it goes on with what is "
            "there now, measured from the mean of then"
        )
    return learner._replace(rule=FrozenConfigDict({**learner.rule, **held}))


def write(folder: Path, learner: Learner, store: Store) -> None:
    """What the labels stand for as the run goes on. Atomic."""
    if _learns(learner):
        content = {name: list(learner.rule[name]) for name in MEASURES}
        content["classes"] = store.class_names()
        whole_file.write(folder / FILE, json.dumps(content, indent=0) + "\n")


def _learns(learner: Learner) -> bool:
    return "head" in learner.objective.parts


def _read(folder: Path) -> dict | None:
    if not run_folder.is_begun(folder) or not (folder / FILE).exists():
        return None
    found = artefacts.read_json(folder / FILE)
    try:
        held = {name: [float(value) for value in found[name]] for name in MEASURES}
        named = {str(column): list(map(str, own)) for column, own in found["classes"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{folder / FILE} is not what a run wrote of its labels; remove it to go on with those "
            "of the table."
        ) from None
    return {**held, "classes": named}
