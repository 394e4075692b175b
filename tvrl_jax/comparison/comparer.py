"""From a configuration to the table: plan, run the cells, collect, write."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from tvrl_jax import prober, settings
from tvrl_jax.comparison import (
    asked,
    collect,
    faults,
    machine,
    markdown,
    page,
    plan,
    record,
    runner,
    summary,
)
from tvrl_jax.comparison.board import Board
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan, Presets
from tvrl_jax.data import opening, table
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder, whole_file
from tvrl_jax.report.tables import write_results

LOG = logging.getLogger("tvrl_jax")

CONFIG = run_folder.COMPARISON
# What other commands leave in a folder; a comparison's own lies below cells/, or beside CONFIG.
FOREIGN = (
    *("probe_*.json", "config.json", "checkpoints/*", "[0-9]*/state"),
    *("results.csv", "table.md", "report.html"),
)


def compare(
    config: ConfigDict,
    workdir: str,
    *,
    presets: Presets,
    command: str,
    resume: bool = False,
    jobs: int = 1,
) -> list[Cell]:
    """Runs what is not done yet in `workdir`, `jobs` cells at once, writes the table there and
    returns what failed.

    Methods, seeds and probes may be added to a comparison; `resume` allows other changes.

    Raises:
      UserError: a setting or the folder is not what it should be.
      SystemExit: 128 + n after signal n.
    """
    planned = plan.make(config, Path(workdir), presets)
    same = identity(config)
    run_folder.refuse_other(workdir, same, resume=resume, name=CONFIG)
    if not (planned.folder / CONFIG).exists():  # also with --resume: nothing is replaced
        remedy = "name a new folder with --workdir."
        run_folder.refuse_results(planned.folder, FOREIGN, remedy)
    reads = to_read(planned, presets)
    check_tables(reads)
    run_folder.make(workdir)
    with run_folder.lock(planned.folder, inherited=True):
        if not resume:  # another may have come meanwhile
            run_folder.refuse_other(workdir, same, resume=False, name=CONFIG)
        folder = run_folder.prepare(workdir, same, CONFIG)
        if jobs > 1:
            pack(reads)
        board = Board(planned.cells, jobs=jobs)
        failed = runner.run(planned, board, resume=resume, jobs=jobs)
        LOG.info("resampling the test patients of what is done")
        found = write(planned, command)
    for line in (*found.undone, *found.alarms):
        print(line)
    print(f"table: {folder / 'table.md'}\nreport: {folder / 'report.html'}")
    return failed


def identity(config: ConfigDict) -> ConfigDict:
    """What makes it the same comparison: all that two cells of one must share."""
    shared = settings.from_json(settings.to_json(config.shared)).to_dict()
    rest = {key: config[key] for key in ("cohort", "inherent", "only", "probe")}
    return ConfigDict(shared | rest)


class Read(NamedTuple):
    """What a cell that is not done reads."""

    data: ConfigDict  # the section that it opens its cohort with
    where: str  # the section of the comparison that says so
    probe: ConfigDict | None  # its configuration; None of a pretraining


def to_read(planned: Plan, presets: Presets) -> list[Read]:
    """One of each kind for every table."""
    found = {}
    for cell in planned.cells:
        if record.is_done(planned, cell):
            continue
        data, where, probe = planned.pretraining[cell.method].data, "config.shared.data", None
        if cell.kind != TRAIN:
            probe = plan.probing(planned.config, cell.kind, presets)
            data = prober.merge_data(data, probe.data)
            where = "config.probe.data" if probe.data.root or probe.data.csv else where
        found[cell.kind, str(data)] = Read(data, where, probe)
    return list(found.values())


def check_tables(reads: Sequence[Read]) -> None:
    """Raises UserError for a table of patients that is missing, of what is not done yet, and for
    one that does not hold what a probe asks of it.

    Else a probe finds that out after every pretraining. What is done needs no table any more.
    """
    tables = {(r.where, r.data.root, r.data.csv) for r in reads if not r.data.phantom.kind}
    for where, root, csv in sorted(tables):  # the first reader of a synthetic one writes it
        try:
            table.read_table(root, csv)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    listed: dict[str, asked.Listed] = {}  # read once: what is odd in a table is said once
    for data, _, probe in reads:
        there = not data.phantom.kind or Path(table.find_file(data.root, data.csv)).is_file()
        if probe is not None and there:
            name = str(data)
            with asked.by_its_keys(probe):
                listed[name] = listed.get(name) or asked.listed(data)
                asked.check(listed[name], data.targets, probe)


def pack(reads: Sequence[Read]) -> None:
    """Decodes once what cells side by side would each decode whole. Raises UserError."""
    for data in {str(read.data): read.data for read in reads}.values():
        opening.open_cohort(data)


def write(planned: Plan, command: str) -> faults.Faults:
    """results.csv, table.md and report.html, of the cells that are done; returns what is amiss."""
    rows = collect.result_rows(planned, collect.columns(planned))
    write_results(planned.folder / "results.csv", rows, collect.COLUMNS)
    facts = machine.pairs(planned, command)
    results = summary.gather(rows)
    found = faults.find(planned, results)
    text = markdown.text(planned, results, facts, found)
    whole_file.write(planned.folder / "table.md", text)
    page.write(planned.folder / "report.html", planned, results, facts, found)
    return found
