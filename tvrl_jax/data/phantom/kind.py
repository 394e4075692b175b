"""What the writing of a cohort needs to know about one kind of phantom."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    version: int  # raised whenever the same settings would give other files
    nuisances: tuple[str, ...]
    folders: tuple[str, ...]  # that hold the images, below the cohort's own
    # (root, seed, size, nuisance, index) -> the subject's rows of cohort.csv, its files written
    # unless they are all there. A function of a module, so that other processes find it.
    write_subject: Callable[[Path, int, int, str, int], list[dict]]
