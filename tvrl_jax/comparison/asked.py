"""What the probes will ask of a cohort, held against its table before hours of pretraining."""

import re

import numpy as np

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
        text = text.replace("config.data.targets", "config.shared.data.targets")
        text = re.sub(r"(?<![\w./])data\.(?=columns\.|split_seed)", "shared.data.", text)
        place = "config.probe." if text.startswith("survival.") else f'probe "{probe.kind}": '
        raise UserError(place + text) from error
