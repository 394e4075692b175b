"""Patients whom the encoder was pretrained on and who are tested now."""

from typing import NamedTuple

import numpy as np

from tvrl_jax import roster
from tvrl_jax.data.cohort import load_cohort
from tvrl_jax.errors import UserError

NOTHING_SAID = roster.Learnt()
PACKING = ("pixel_mm", "fit", "percentiles")  # with others, the same file has other frames


class Leak(NamedTuple):
    shared: tuple[str, ...]  # pretraining's training patients among the test patients, by name
    tested: int  # test patients
    unknown: str  # why pretraining's patients are not known; "" = they are
    copied: tuple[str, ...] = ()  # further test patients with images that pretraining learned from
    by_content: bool = False  # whether images were compared, too


def find(pretraining_data, data, store, learnt: roster.Learnt = NOTHING_SAID) -> Leak:
    """Compares names and images: the patients of pretraining with the test split of `store`.

    learnt: what the run says that it learned from; the table may have changed since. What it does
    not say is taken from pretraining's train split now. data: the section that `store` was opened
    with. Where it is that of pretraining, the store knows both splits; else pretraining's table is
    read again, without its images, and names alone can be compared.
    """
    test, same = _names(store.series, "test"), data == pretraining_data
    if learnt.patients:
        train, unknown = set(learnt.patients), ""
    elif same:
        train, unknown = _names(store.series, "train"), ""
    else:
        train, unknown = _pretrained(pretraining_data)
    held = list(zip(store.series, roster.frames(store), strict=True))
    frames = set(learnt.frames)
    if not frames and same:
        frames = {hashed for one, hashed in held if one.subject in train}
    alike = all(data[key] == pretraining_data[key] for key in PACKING)
    known = frames if alike else set()
    copied = {
        one.subject
        for i, (one, hashed) in enumerate(held)
        if one.split == "test" and hashed in known and _shows_something(store, i)
    }
    return Leak(_sorted(train & test), len(test), unknown, _sorted(copied - train), bool(known))


def _shows_something(store, i: int) -> bool:
    """All blank series are alike."""
    return bool(np.any(store.frames(i, np.arange(store.series[i].frames))))


def _sorted(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _pretrained(data) -> tuple[set[str], str]:
    try:
        cohort = load_cohort(**{**data, "on_bad": "skip"})
    except UserError as error:
        return set(), str(error)
    return _names(cohort.records, "train"), ""


def _names(series, split: str) -> set[str]:
    return {one.subject for one in series if one.split == split}
