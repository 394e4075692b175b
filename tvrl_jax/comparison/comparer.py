"""From a configuration to the table: plan, run the cells, collect, write."""

import logging
from pathlib import Path

from ml_collections import ConfigDict

from tvrl_jax import run_folder, settings, whole_file
from tvrl_jax.comparison import collect, machine, markdown, page, plan, runner, summary
from tvrl_jax.comparison.board import Board
from tvrl_jax.comparison.plan import Cell, Plan, Presets

LOG = logging.getLogger("tvrl_jax")

CONFIG = "comparison.json"


def compare(
    config: ConfigDict, workdir: str, *, presets: Presets, command: str, resume: bool = False
) -> list[Cell]:
    """Runs what is not done yet in `workdir`, writes the table there and returns what failed.

    Methods, seeds and probes may be added to a comparison; `resume` allows other changes.

    Raises:
      UserError: a setting or the folder is not what it should be.
      SystemExit: 128 + n after signal n.
    """
    planned = plan.make(config, Path(workdir), presets)
    record = identity(config)
    run_folder.refuse_other(workdir, record, resume=resume, name=CONFIG)
    folder = run_folder.prepare(workdir, record, CONFIG)
    with runner.lock(folder):
        board = Board(planned.cells)
        failed = runner.run(planned, board, resume=resume)
        LOG.info("resampling the test patients of what is done")
        write(planned, command)
    for line in summary.failures(planned):
        print(line)
    print(f"table: {folder / 'table.md'}\nreport: {folder / 'report.html'}")
    return failed


def identity(config: ConfigDict) -> ConfigDict:
    """What makes it the same comparison: all that two cells of one must share."""
    shared = settings.from_json(settings.to_json(config.shared)).to_dict()
    rest = {key: config[key] for key in ("cohort", "inherent", "only", "probe")}
    return ConfigDict(shared | rest)


def write(planned: Plan, command: str) -> None:
    """results.csv, table.md and report.html, of the cells that are done."""
    rows = collect.result_rows(planned, collect.columns(planned))
    collect.write(planned.folder / "results.csv", rows)
    facts = machine.pairs(planned, command)
    results = summary.gather(rows)
    text = markdown.text(planned, results, facts)
    whole_file.write(planned.folder / "table.md", text)
    page.write(planned.folder / "report.html", planned, results, facts)
