"""What every method of a probe is measured on: settings, tasks, splits and label draws."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tvrl_jax.probing import check, cls, paired, problem, sampling, tasks
from tvrl_jax.probing.features import Encoder, window_settings
from tvrl_jax.probing.problem import Prediction, Problem
from tvrl_jax.probing.tasks import Task
from tvrl_jax.results import MINUS


class Study(NamedTuple):
    encoder: Encoder
    store: object
    config: object  # of the probe
    settings: dict  # of the windows
    series: dict[str, np.ndarray]  # split -> series of the store
    subject: dict[str, np.ndarray]
    tasks: tuple[Task, ...]
    problems: list[Problem]
    others: list[paired.Measured]  # other probes to compare with
    say: Callable[[str], None]


def plan(encoder: Encoder, store, config, say) -> Study:
    """What `config`, which `check` has found to be right, asks of this encoder and cohort.

    Raises:
      UserError: a target, a fraction, another probe to compare with or the cohort cannot be used;
        all that can be wrong is found here, in seconds.
    """
    check.cohort(store, encoder.config)
    if config.kind == "cls":
        cls.refuse_joint(encoder)
    asked = find_tasks(store, config, encoder.config.data.targets)
    series = {split: np.asarray(store.split(split)) for split in tasks.SPLITS}
    subject = {split: np.asarray(store.subject_index)[i] for split, i in series.items()}
    tasks.check_classes(store, asked)
    counts = dict(fractions=config.fractions, seeds=config.seeds, restarts=config.restarts)
    draws = sampling.draws(asked, series["train"], subject["train"], **counts)
    settings = window_settings(encoder.config, config.features)
    problems = problem.group(draws, series)
    others = _others(store, series["test"], draws, config)
    return Study(encoder, store, config, settings, series, subject, asked, problems, others, say)


def find_tasks(store, config, pretrained: Sequence[str]) -> tuple[Task, ...]:
    """Times to an event for the kinds that are made for them, data.targets for the others.

    pretrained: the targets of pretraining, which are the probe's where it names none. UserError as
    of `tasks.load` and `tasks.load_survival`.
    """
    if config.kind in check.SURVIVAL:
        return tasks.load_survival(store, **config.survival)
    return tasks.load(store, tasks.asked(config.data.targets, pretrained))


def _others(store, test, draws, config) -> list[paired.Measured]:
    """Other probes, named METHOD (FOLDER), on exactly the test series of this one."""
    info = [store.series[i] for i in test]
    names = (np.array([one.id for one in info]), np.array([one.subject for one in info]))
    asked = {d.task.column: d.task._replace(value_N=d.task.value_N[test]) for d in draws}
    fits = [Prediction(draw, np.zeros(0), {}) for draw in draws]
    mine = paired.Measured("to be", "this probe", "", config.kind, *names, asked, fits)
    folders = map(os.path.expanduser, config.against)  # the shell leaves a ~ behind = as it is
    found = [paired.aligned(mine, paired.load(f, config.kind)) for f in folders]
    return [other._replace(name=_named(other)) for other in found]


def _named(other: paired.Measured) -> str:
    """MINUS tells the differences from the methods: a folder that holds it is told without."""
    return f"{other.name} ({other.folder})".replace(MINUS, "-")
