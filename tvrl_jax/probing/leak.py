"""Patients whom the encoder was pretrained on and who are tested now."""

from collections.abc import Collection
from typing import NamedTuple

from tvrl_jax.data.cohort import load_cohort
from tvrl_jax.errors import UserError


class Leak(NamedTuple):
    shared: tuple[str, ...]  # pretraining's training patients among the test patients, by name
    tested: int  # test patients
    unknown: str  # why pretraining's patients are not known; "" = they are


def find(pretraining_data, data, store, written: Collection[str] = ()) -> Leak:
    """Compares names: the patients of pretraining with the test split of `store`.

    written: whom the run says that it learned from; the table may have changed since. Without,
    they are those of pretraining's train split now. data: the section that `store` was opened
    with. Where it is that of pretraining, the store knows both splits; else pretraining's table is
    read again, without its images.
    """
    test = _names(store.series, "test")
    if written:
        train, unknown = set(written), ""
    elif data == pretraining_data:
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
