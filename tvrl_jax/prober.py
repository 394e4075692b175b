"""From a checkpoint to results: restore, open the cohort, run the suite, write the report."""

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from tvrl_jax import roster, settings
from tvrl_jax import state as states
from tvrl_jax.checkpoint import Restored, restore_for_reading
from tvrl_jax.data import opening
from tvrl_jax.data.store import Store
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder, turn
from tvrl_jax.learner import find_objective, make_learner
from tvrl_jax.probing import check, export, leak, pretrained, suite
from tvrl_jax.probing.features import Encoder
from tvrl_jax.probing.temporal import suite as temporal
from tvrl_jax.probing.temporal.pretext import Trained
from tvrl_jax.report import alarms, ending, facts, tables
from tvrl_jax.report import temporal as about_time
from tvrl_jax.results import ABOUT_TIME, EXPORT, PREDICTIONS, TEMPORAL

LOG = logging.getLogger("tvrl_jax")
LOCK = ".results.lock"

PLANS = {TEMPORAL: temporal.plan, EXPORT: export.plan}  # of kinds that predict no label
RESULTS = {TEMPORAL: (ABOUT_TIME,), EXPORT: (export.TABLE, export.ARRAYS)}  # of the same kinds
# Keys that change no result: where features lie and how many are computed at once.
MAY_CHANGE = ("features.cache", "features.batch_size")
NONE = "none"  # of a key whose "" or () means "as in pretraining": it is to be empty
MAY_BE_EMPTY = ("subject_csv", "column_unit", "targets")
MAY_BE_ZERO = ("frame_interval", "pixel_mm")
# Keys that may differ between the probes of one folder: the test patients are the same.
NO_OTHER_COHORT = (
    *("targets", "columns.event", "columns.duration"),
    *("store", "threads", "workers", "phantom."),
)


def probe(
    config: ConfigDict,
    checkpoint: str,
    workdir: str,
    *,
    step: str,
    resume: bool,
    base: ConfigDict,
) -> None:
    """Measures the encoder of a checkpoint as `config` says and writes into `workdir`.

    `base` is the configuration against which the report lists what differs.

    Raises:
      UserError: a setting, the checkpoint, the cohort or the folder is not what it should be.
    """
    # A comparison's rows are its own, also with --resume.
    run_folder.refuse_results(Path(workdir), (run_folder.COMPARISON,), "name another --workdir.")
    settings.check(without_data(config))
    check.config(config)
    check.cache(config)
    restored = restore_for_reading(checkpoint, pretrained.GROUPS, step)
    pretraining = settings.stored(restored.meta["config"])
    before, data = _cohorts(pretraining, config)
    run = _run_folder(Path(checkpoint))
    record = ConfigDict(config.to_dict() | {"checkpoint": str(run), "step": restored.step})
    refuse_other(workdir, record, pretraining.data, resume=resume)
    opened = _open(restored, pretraining, data, config)
    learnt = roster.learnt(run)
    LOG.info("probing step %d of %s", restored.step, checkpoint)
    run_folder.make(workdir)
    with run_folder.lock(Path(workdir), name=f".probe_{config.kind}.lock"):
        # Another probe of this kind may have come and gone meanwhile.
        refuse_other(workdir, record, pretraining.data, resume=resume)
        folder = run_folder.prepare(workdir, record, _record_of(config.kind))
        checks = []
        if config.kind != "supervised":  # which learns nothing from pretraining
            checks.append(alarms.leak(*leak.find(before, data, opened.store, learnt)))
        if config.kind == EXPORT:
            _export(opened, config, folder, checks)
            return
        results = _measure(opened, config, folder, checks)
        # With --resume the settings of this kind may have changed: no row of the former ones stays.
        with turn.held(folder, LOCK):  # probes of several kinds may end together
            alarms.save(folder, config.kind, checks)
            facts.save(folder, config.kind, results.notes)
            tables.update(folder / "results.csv", results.rows, instead_of=config.kind)
            _tell(folder, run, results, base, data.time_unit)


class _Opened(NamedTuple):
    """What a probe works on."""

    restored: Restored
    store: Store
    encoder: Encoder
    study: Any  # what the plan of its kind made; None of an export


def _cohorts(pretraining: ConfigDict, config: ConfigDict) -> tuple[ConfigDict, ConfigDict]:
    """The data sections of pretraining and of the probe. Raises UserError."""
    before, data = pretraining.data, merge_data(pretraining.data, config.data)
    if config.kind == EXPORT:
        before, data = _unlabelled(before), _unlabelled(data)
    settings.check(ConfigDict({"data": data}))
    if config.kind != EXPORT and data.root != before.root and not config.data.cohort:
        LOG.warning(
            'results.csv names the cohort "%s", as in pretraining, though config.data.root is '
            "another; name it with --config.data.cohort (of a comparison, "
            "--config.probe.data.cohort).",
            data.cohort,
        )
    return before, data


def _open(restored: Restored, pretraining: ConfigDict, data, config: ConfigDict) -> _Opened:
    """What is wrong with the cohort is said here, before anything is written."""
    store = opening.open_cohort(data)
    encoder = pretrained.encoder(restored, pretraining)
    if pretrained.needs_times(encoder, data):
        store.require_times()
    study = PLANS.get(config.kind, suite.plan)(encoder, store, config, print)
    # A supervised one starts from fresh parameters.
    if pretrained.is_averaged(restored) and config.kind != "supervised":
        how = config.features
        sizes = dict(batches=how.settle_batches, batch_size=how.settle_size)
        if config.kind == EXPORT:  # the features of a series are its own, whichever table names it
            encoder = pretrained.settled_at_home(encoder, **sizes)
        else:
            encoder = pretrained.settled(encoder, store, **sizes)
        study = study and study._replace(encoder=encoder)
    return _Opened(restored, store, encoder, study)


def _measure(opened: _Opened, config: ConfigDict, folder: Path, checks: list) -> suite.Results:
    """The results of every kind but an export; what a probe of time has found joins the checks."""
    if config.kind != TEMPORAL:
        return suite.run(opened.study, folder)
    results = temporal.run(opened.study, restore_trained(opened.restored, opened.store), folder)
    checks += alarms.encoder_checks(results.findings)
    return results


def _export(opened: _Opened, config: ConfigDict, folder: Path, checks: list) -> None:
    for found in checks:
        if found.alarm:
            LOG.warning(found.alarm)
    for path in export.run(opened.encoder, opened.store, config, folder):
        print(path)


def _unlabelled(data: ConfigDict) -> ConfigDict:
    """Without the labels: the table of another cohort may have none."""
    made = data.copy_and_resolve_references()
    made.targets = ()
    made.columns.event = made.columns.duration = ""
    return made


def _run_folder(checkpoint: Path) -> Path:
    """Named either way, runs/x or runs/x/checkpoints, it is one checkpoint."""
    return checkpoint.parent if checkpoint.name == "checkpoints" else checkpoint


def merge_data(pretrained: ConfigDict, wanted: ConfigDict) -> ConfigDict:
    """The pretraining's `data` section with what the probe names; the rest stays as it was.

    What stays is "", (), 0, and a split_seed of -1. NONE empties a key that may be empty, and -1
    a number.

    Raises:
      UserError: time unit, image size or channels differ from what the encoder was trained on.
    """
    merged = pretrained.copy_and_resolve_references()
    for key in check.SAME:
        if wanted[key] and wanted[key] != pretrained[key]:
            raise UserError(
                f"config.data.{key} = {wanted[key]}, but the checkpoint was trained with "
                f"{pretrained[key]}; the cohort of a probe must agree."
            )
    if wanted.root and wanted.root != pretrained.root:
        merged.phantom.kind = ""  # another folder holds its own images
    for key, value in settings.leaves(wanted):
        if value != -1 if key == "split_seed" else value:
            merged.update_from_flattened_dict({key: _meant(key, value)})
    return merged


def _meant(key: str, value):
    if value in (NONE, (NONE,)) and (key.startswith("columns.") or key in MAY_BE_EMPTY):
        return type(value)()
    return 0.0 if value == -1 and key in MAY_BE_ZERO else value


def without_data(config: ConfigDict) -> ConfigDict:
    return ConfigDict({key: value for key, value in config.to_dict().items() if key != "data"})


def _record_of(kind: str) -> str:
    return f"probe_{kind}.json"


def refuse_other(workdir: str, record: ConfigDict, pretrained: ConfigDict, *, resume: bool) -> None:
    """Raises UserError where the folder holds another probe; as of `refuse_mixture`, or of this
    kind with other settings that matter to it. A probe that left no results is none."""
    refuse_mixture(workdir, record, pretrained)
    run_folder.refuse_other(
        workdir,
        record,
        resume=resume,
        name=_record_of(record.kind),
        begun=has_results(Path(workdir), record.kind),
        apart=(*MAY_CHANGE, *check.foreign(record.kind)),
    )


def has_results(folder: Path, kind: str) -> bool:
    """Whether a probe of this kind has left anything in a folder but its settings."""
    names = (PREDICTIONS.format(kind), alarms.FILE.format(kind), *RESULTS.get(kind, ()))
    if any((folder / name).exists() for name in names):
        return True
    rows = folder / "results.csv"
    return rows.is_file() and any(row["probe"] == kind for row in tables.read_results(rows))


def refuse_mixture(workdir: str, record: ConfigDict, pretrained: ConfigDict) -> None:
    """One folder holds the probes of one checkpoint, step and cohort: their rows share results.csv.

    record: the probe's configuration with checkpoint and step. pretrained: the data section of that
    checkpoint. Raises UserError, also with --resume, where a probe_KIND.json says something else.
    """
    for path in sorted(Path(workdir).glob(_record_of("*"))):
        there = run_folder.read(path.parent, path.name)
        own = path.name == _record_of(record.kind)
        if own and not has_results(path.parent, record.kind):
            continue  # it failed, and is about to be replaced
        remedy = "name another --workdir."
        try:
            mine, theirs = (f"checkpoint {r.checkpoint}, step {r.step}" for r in (record, there))
            if _place(record) != _place(there):
                raise UserError(f"{workdir} holds a probe of {theirs}, not of {mine}; {remedy}")
            kind, before = there.kind, dict(settings.leaves(merge_data(pretrained, there.data)))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"{path} is not what a probe wrote; {remedy}") from None
        for key, value in settings.leaves(merge_data(pretrained, record.data)):
            if before[key] != value and not key.startswith(NO_OTHER_COHORT):
                raise UserError(
                    f"{workdir} holds a {kind} probe with data.{key} = {before[key]!r}, "
                    f"not {value!r}; {remedy}"
                )


def _place(record: ConfigDict) -> tuple[str, int]:
    path = os.path.realpath(os.path.expanduser(record.checkpoint))
    return str(_run_folder(Path(path))), record.step


def restore_trained(restored: Restored, store) -> Trained | None:
    """The whole network as it was trained, for its own exercise; None where that needs labels."""
    pretraining = settings.stored(restored.meta["config"])
    objective = find_objective(pretraining)
    if "head" in objective.parts:
        return None
    tree = {name: restored.tree[name] for name in pretrained.GROUPS}
    state = states.State(step=restored.step, opt_state=(), **tree)
    return Trained(make_learner(pretraining, objective, store), state)


def _tell(folder: Path, run: Path, results: suite.Results, base: ConfigDict, unit: str) -> None:
    time_rows = about_time.rows_of(results.rows)
    print(about_time.printed(time_rows) if time_rows else tables.comparison(results.rows, unit))
    ending.tell(run, folder, base.to_dict())
