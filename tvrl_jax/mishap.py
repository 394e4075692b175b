"""A step whose loss is not finite: told in words, and its batch kept so that it can be replayed."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tvrl_jax import sharding
from tvrl_jax.data.store import Store
from tvrl_jax.files import artefacts, whole_file

# what every step computes from, of what a batch holds
NEEDED = ("clip_BVTHWC", "time_BVT", "valid_BVT", "anchor_BV", "subject_B", "series_B", "weight_B")
FOLDER = "nan"
NAMED = 16  # series that a sentence names; the file of the batch names all


class Mishap(Exception):
    """Step `number`, which was computed from `batch` (this process's rows), is not finite."""

    def __init__(self, number: int, what: str, batch: Mapping[str, np.ndarray]):
        super().__init__(f"{what} of step {number}")
        self.number, self.what, self.batch = number, what, batch

    def sentence(self, store: Store) -> str:
        """What is not finite, and the series of its batch."""
        names = list(dict.fromkeys(ids(store, self.batch)))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"{self.what} (its series: {', '.join(names[:NAMED])}{more})"


def describe(number: int, scalars: Mapping[str, np.ndarray]) -> str:
    """Which of a step's numbers is not finite."""
    for key, name in (("loss", "loss"), ("gradient_norm", "norm of the gradient")):
        if not np.isfinite(scalars[key]):
            return f"the {name} of step {number} is {float(scalars[key])}"
    return f"the parameters or running statistics that step {number} makes are not finite"


def ids(store: Store, batch: Mapping[str, np.ndarray]) -> list[str]:
    """The id of each row's series."""
    return [store.series[i].id for i in batch["series_B"]]


def file_of(folder: Path, number: int) -> Path:
    """Where this process keeps its rows of the batch of a step."""
    return folder / FOLDER / f"step_{number}{sharding.process_suffix()}.npz"


def keep(folder: Path, number: int, batch: Mapping[str, np.ndarray], store: Store) -> Path:
    """Writes the batch, and the ids of its series, in one piece. Raises OSError."""
    path = file_of(folder, number)
    path.parent.mkdir(exist_ok=True)
    with whole_file.writing(path, binary=True) as file:
        np.savez_compressed(file, step=number, id_B=np.array(ids(store, batch)), **batch)
    return path


class Kept(NamedTuple):
    """What `keep` wrote."""

    number: int
    id_B: list[str]
    batch: dict[str, np.ndarray]


def read(path: str | Path) -> Kept:
    """Raises UserError, TypeError, ValueError or KeyError for a file that `keep` did not write."""
    arrays = artefacts.read_arrays(path)
    absent = [name for name in NEEDED if name not in arrays]
    if absent:
        raise KeyError(absent[0])
    return Kept(int(arrays.pop("step")), arrays.pop("id_B").tolist(), arrays)
