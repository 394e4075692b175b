"""Patients whom the encoder was pretrained on and who are tested now."""

from typing import NamedTuple

from tvrl_jax.data.cohort import load_cohort
from tvrl_jax.errors import UserError


class Leak(NamedTuple):
    shared: tuple[str, ...]  # pretraining's training patients among the test patients, by name
    tested: int  # test patients
    unknown: str  # why pretraining's patients are not known; "" = they are


def find(pretraining_data, data, store) -> Leak:
    """Compares names: pretraining's train split with the test split of `store`.

    data: the section that `store` was opened with. Where it is that of pretraining, the store knows
    both splits; else pretraining's table is read again, without its images.
    """
    test = _names(store.series, "test")
    if data == pretraining_data:
        train, unknown = _names(store.series, "train"), ""
    else:
        train, unknown = _pretrained(pretraining_data)
    return Leak(tuple(sorted(train & test)), len(test), unknown)


def _pretrained(data) -> tuple[set[str], str]:
    try:
        cohort = load_cohort(**{**data, "on_bad": "skip"})
    except UserError as error:
        return set(), str(error)
    return _names(cohort.records, "train"), ""


def _names(series, split: str) -> set[str]:
    return {one.subject for one in series if one.split == split}
