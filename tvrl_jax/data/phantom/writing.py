"""Writes a synthetic cohort as ordinary files: claimed first, subject by subject, sealed last."""

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from tvrl_jax.data.phantom import cardiac, retina, settings, workers
from tvrl_jax.files import turn, whole_file

KINDS = {"cardiac": cardiac.KIND, "retina": retina.KIND}


def write(
    root: str | os.PathLike,
    *,
    kind: str,
    subjects: int,
    seed: int,
    size: int,
    nuisance: str,
    progress: bool = True,
    processes: int | None = None,
) -> None:
    """Fills `root` with image files, cohort.csv and, last, phantom.json with the settings.

    What a kind writes stands in its own package's docstring. Returns at once if `root` holds this
    very cohort; goes on where an interrupted call stopped. The files are the same for any number
    of `processes` (None: one per available core). Of several calls at once one writes and the
    others wait for it. Raises UserError for settings that make no sense and for a folder that
    holds anything else.
    """
    chosen = settings.checked(
        KINDS, kind=kind, subjects=subjects, seed=seed, size=size, nuisance=nuisance
    )
    root = Path(root).expanduser()
    if settings.is_sealed(root, chosen):
        return
    with ExitStack() as turns:
        with settings.must_be_writable(root):
            root.mkdir(parents=True, exist_ok=True)
            turns.enter_context(turn.held(root, settings.LOCK))
        if settings.claim(root, chosen):  # else another process wrote it while this one waited
            _fill(root, chosen, progress=progress, processes=processes)
            settings.seal(root)


def _fill(root: Path, chosen: dict, *, progress: bool, processes: int | None) -> None:
    kind, subjects = KINDS[chosen["kind"]], chosen["subjects"]
    for name in kind.folders:
        (root / name).mkdir(exist_ok=True)
    job = partial(kind.write_subject, root, chosen["seed"], chosen["size"], chosen["nuisance"])
    every = 0.2 if sys.stderr.isatty() else 10.0  # seconds: a log file needs no animation
    rows = []
    with tqdm(
        total=subjects, desc=f"writing {root}", disable=not progress, mininterval=every
    ) as bar:
        for of_subject in workers.each(job, subjects, processes):
            rows += of_subject
            bar.update()
    # Objects: a whole number stays one in a column that has gaps.
    table = pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")
    whole_file.write(root / "cohort.csv", table.encode(), sync=False)
