"""From a configuration to a packed cohort: a synthetic one is written first, where it is absent."""

import numpy as np

from tvrl_jax.data import phantom
from tvrl_jax.data.pack import Store, open_store


def open_cohort(data) -> Store:
    """The cohort of a configuration's `data` section, decoded once.

    Raises:
      UserError: what is wrong with the table, a file or the folder.
    """
    if data.phantom.kind:
        phantom.write(data.root, **data.phantom)
    return open_store(**data)


def columns(targets: tuple[str, ...]) -> tuple[str, ...]:
    """Column names of "COLUMN:kind" targets."""
    return tuple(target.rpartition(":")[0] for target in targets)


def class_counts(store: Store, targets: tuple[str, ...]) -> tuple[int, ...]:
    """For each target 0 if it is a regression, else the number of classes."""
    return tuple(
        len(store.classes(column)) if target.endswith(":classification") else 0
        for target, column in zip(targets, columns(targets), strict=True)
    )


def target_values(store: Store, targets: tuple[str, ...]) -> np.ndarray:
    """Float32 [series, targets], NaN where missing."""
    return store.targets(columns(targets))
