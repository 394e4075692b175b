"""What a comparison consists of: the configurations of its methods, and the cells to run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from tvrl_jax import agreement, learner, settings
from tvrl_jax.errors import UserError, guess, nearest
from tvrl_jax.probing import check as probes
from tvrl_jax.results import BASELINES

TRAIN = "pretrain"  # the kind of a cell that is no probe
NAMED = ("method", "seed")  # keys of a pretraining that name the cell, and so always differ


class Presets(NamedTuple):
    """What configs/ holds, by name."""

    methods: Sequence[str]
    method: Callable[[str, str], ConfigDict]  # (method, cohort) -> its own configuration
    probes: Sequence[str]
    probe: Callable[[str], ConfigDict]  # kind -> its configuration


class Cell(NamedTuple):
    """One run of train.py or probe.py."""

    method: str
    seed: int  # of the pretraining
    kind: str  # TRAIN, or the kind of a probe
    folder: Path  # of the run; the record and the log lie beside it
    arguments: tuple[str, ...]  # what follows `python`
    baselines: tuple[str, ...] = ()  # measured by this probe besides

    @property
    def name(self) -> str:
        return f"{self.method} seed {self.seed} {self.kind}"


class Plan(NamedTuple):
    config: ConfigDict
    folder: Path
    pretraining: dict[str, ConfigDict]  # method -> its configuration, with the first seed
    cells: tuple[Cell, ...]  # in the order in which they run

    @property
    def cohort(self) -> str:
        """The name of the cohort of the test patients: the preset's, or that which a table of one's
        own was given."""
        config = self.config
        return config.probe.data.cohort or config.shared.data.cohort or config.cohort

    def pretrained(self, cell: Cell) -> Cell:
        """The cell that trains what `cell` probes."""
        same = (cell.method, cell.seed, TRAIN)
        return next(c for c in self.cells if (c.method, c.seed, c.kind) == same)


def make(config: ConfigDict, folder: Path, presets: Presets) -> Plan:
    """Raises UserError for what would fail in its cell hours later: a name that is not known, a key
    that is none, settings that disagree, or nothing to do."""
    check(config, presets)
    trained = {m: pretraining(config, m, config.seeds[0], presets) for m in config.methods}
    for of_method in trained.values():
        settings.check(of_method)
        agreement.check(of_method, learner.find_objective(of_method))
    for kind in config.probes:
        probes.config(probing(config, kind, presets))
        _check_asked(config, kind)
        _check_encoders(trained, kind)
    _check_bootstrap(config, presets)
    cells = []
    for seed in config.seeds:
        for method in config.methods:
            cells.append(_train_cell(config, method, seed, folder, presets))
            lends = seed == config.seeds[0] and method in lenders(trained)
            measured = tuple(b for b in config.baselines if lends or b != "untrained")
            own = [
                _probe_cell(config, cells[-1], kind, measured, presets) for kind in config.probes
            ]
            cells += own
    return Plan(config, folder, trained, tuple(cells))


def check(config: ConfigDict, presets: Presets) -> None:
    for key in ("methods", "seeds", "probes"):
        if not config[key]:
            raise UserError(f"config.{key} is empty: name at least one.")
    for key in ("methods", "seeds", "probes", "baselines", "claimed", "against"):
        if len(set(config[key])) < len(config[key]):
            raise UserError(f"config.{key} = {tuple(config[key])} names one of them twice.")
    for seed in config.seeds:
        if type(seed) is not int or not 0 <= seed < 2**32:
            raise UserError(
                f"config.seeds has {seed!r}; whole numbers from 0, and below 2^32, are right."
            )
    for key in ("methods", "claimed", "against"):
        _known(f"config.{key}", config[key], presets.methods)
    _known("config.probes", config.probes, presets.probes)
    _known("config.only", config.only, presets.methods)
    _known("config.baselines", config.baselines, BASELINES)


def _known(key: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f'{key} has "{name}".{nearest(str(name), known)}')


def pretraining(config: ConfigDict, method: str, seed: int, presets: Presets) -> ConfigDict:
    """The method's own configuration where it is `inherent`, else `shared`; then `only`."""
    made = presets.method(method, config.cohort)
    shared = {k: v for k, v in settings.leaves(config.shared) if not inherent(config, k)}
    apply(made, shared, "config.shared")
    apply(made, dict(settings.leaves(config.only.get(method) or ConfigDict())), f"only.{method}")
    made.seed = seed
    return made


def probing(config: ConfigDict, kind: str, presets: Presets) -> ConfigDict:
    """The configuration of a kind of probe, for every method alike.

    What is said of survival is for the kinds that predict it, and leaves the others as they are.
    """
    made = presets.probe(kind)
    given = dict(settings.leaves(config.probe))
    if kind not in probes.SURVIVAL:
        given = {key: value for key, value in given.items() if not key.startswith("survival.")}
    apply(made, given, "config.probe")
    return made


def _check_bootstrap(config: ConfigDict, presets: Presets) -> None:
    """Raises UserError for resamples of the comparison that a probe would not draw, either."""
    made = presets.probe(config.probes[0])
    apply(made, dict(settings.leaves(config.bootstrap, "bootstrap.")), "config")
    probes.config(made)


def _check_asked(config: ConfigDict, kind: str) -> None:
    """Raises UserError where the cohort is not said to have what a kind of probe predicts."""
    data, own = config.shared.data, config.probe.get("data", ConfigDict())
    if kind not in probes.SURVIVAL:
        if not (own.get("targets") or data.targets):
            raise UserError(
                f'config.shared.data.targets is empty: probe "{kind}" predicts columns, such as '
                '("LVEF:regression",).'
            )
        return
    for column in ("event", "duration"):
        if not (own.get("columns", {}).get(column) or data.columns[column]):
            raise UserError(
                f'config.shared.data.columns.{column} is empty: probe "{kind}" predicts the time '
                "to an event; name the columns event and duration."
            )


def _check_encoders(trained: dict[str, ConfigDict], kind: str) -> None:
    """Raises UserError where a kind of probe cannot be of a method's encoder."""
    for method, config in trained.items():
        if kind == "cls" and "mae" in learner.find_objective(config).parts:
            raise UserError(
                f'config.probes has "cls", which needs a temporal encoder over frames, and that of '
                f'"{method}" is joint; leave one of them out.'
            )


def inherent(config: ConfigDict, key: str) -> bool:
    """Whether `shared` leaves a dotted key to the method."""
    return any(key == name or key.startswith(name + ".") for name in (*NAMED, *config.inherent))


def apply(config: ConfigDict, changes: dict[str, Any], where: str) -> None:
    """Sets dotted keys. UserError for one that `config` lacks, or a value of another type."""
    known = dict(settings.leaves(config))
    for key, value in changes.items():
        if key not in known:
            raise UserError(f"{where}.{key}: there is no such key.{guess(key, known)}")
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{where}.{key} = {value!r} must be of the kind of {known[key]!r}."
            ) from error


def lenders(trained: dict[str, ConfigDict]) -> list[str]:
    """The methods beside which `untrained` is measured: the first of each architecture.

    One for all would not do: an encoder that is told the times may read from them, untrained, what
    no image shows.
    """
    found: dict[str, str] = {}
    for method, config in trained.items():
        found.setdefault(str(config.model), method)
    return list(found.values())


def _train_cell(config, method: str, seed: int, folder: Path, presets: Presets) -> Cell:
    made = pretraining(config, method, seed, presets)
    flags = changed(presets.method(method, config.cohort), made)
    place = folder / "cells" / method / f"seed{seed}" / TRAIN
    start = ("train.py", f"--config=configs/{method}.py:{config.cohort}")
    return Cell(method, seed, TRAIN, place, (*start, *flags, f"--workdir={place}"))


def _probe_cell(config, trained: Cell, kind: str, baselines: tuple, presets: Presets) -> Cell:
    made = probing(config, kind, presets)
    made.baselines = baselines
    place = trained.folder.with_name(f"probe_{kind}")
    arguments = (
        "probe.py",
        f"--config=configs/probe_{kind}.py",
        *changed(presets.probe(kind), made),
        f"--checkpoint={trained.folder}",
        f"--workdir={place}",
    )
    return Cell(trained.method, trained.seed, kind, place, arguments, baselines)


def changed(start: ConfigDict, made: ConfigDict) -> list[str]:
    """The flags that turn one configuration into the other."""
    before = dict(settings.leaves(start))
    return [f"--config.{k}={v}" for k, v in settings.leaves(made) if before[k] != v]


def differing(trained: dict[str, ConfigDict]) -> dict[str, list[Any]]:
    """Dotted key -> its value for each method (None = absent), where they are not all alike."""
    flat = [dict(settings.leaves(config)) for config in trained.values()]
    keys = sorted({key for one in flat for key in one} - set(NAMED))
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {key: v for key, v in values.items() if any(one != v[0] for one in v)}
