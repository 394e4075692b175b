"""What the probes will ask of a cohort, held against its table before hours of pretraining."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tvrl_jax import settings
from tvrl_jax.data.cohort import Cohort, load_cohort
from tvrl_jax.data.store import Store
from tvrl_jax.errors import UserError
from tvrl_jax.probing import sampling, study, tasks


class Listed:
    """The series of a table, with what `probing.tasks` reads of a store; no image is read.

    A volume of several slices is one series here.
    """

    split, outcomes = Store.split, Store.outcomes

    def __init__(self, cohort: Cohort):
        self.series = cohort.records
        self.text = cohort.table.loc[[record.sources[-1].row for record in cohort.records]]
        self.where, self.columns = cohort.where, cohort.columns
        self.time_unit = cohort.time_unit


@contextmanager
def by_its_keys(probe) -> Iterator[None]:
    """Around what speaks of data.KEY: a comparison has that of the probes, where it says anything,
    and else that which all share. probe: the configuration that opens the table."""
    try:
        yield
    except UserError as error:
        given = {k for k, value in settings.leaves(probe.data) if value and value != -1}
        keys = "|".join(re.escape(key) for key, _ in settings.leaves(probe.data))

        def owned(found: re.Match) -> str:
            section = "probe" if found["key"] in given else "shared"
            return f"{found['front'] or ''}{section}.data.{found['key']}"

        # Not in the name of a file or column.
        front = r'(?<![\w./"-])(?P<front>(--)?config\.)?'
        text = re.sub(rf"{front}data\.(?P<key>{keys})\b", owned, str(error))
        raise UserError(text) from error


def listed(data) -> Listed:
    """data: the section that the probes will open their cohort with. UserError as of a probe."""
    return Listed(load_cohort(**data))


def check(listed: Listed, targets, probe) -> None:
    """targets: those of the cohort; probe: the configuration of the probe that will open it.

    Raises:
      UserError: a target, an outcome, a horizon or a label fraction that the table does not allow,
        by the key of the comparison where it has one.
    """
    try:
        wanted = study.find_tasks(listed, probe, targets)
        tasks.check_classes(listed, wanted)
        train = listed.split("train")
        subject_N = np.array([listed.series[i].subject for i in train])
        sampling.check_fractions(wanted, train, subject_N, probe.fractions)
    except UserError as error:
        text = str(error).replace("config.fractions", "config.probe.fractions")
        place = "config.probe." if text.startswith("survival.") else f'probe "{probe.kind}": '
        raise UserError(place + text) from error
