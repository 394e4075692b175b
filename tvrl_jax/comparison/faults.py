"""What a reader of a comparison is told before its numbers: cells that are not done, and alarms."""

from typing import NamedTuple

from tvrl_jax.comparison import collect, record
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan, lenders
from tvrl_jax.comparison.summary import Results, settings_of
from tvrl_jax.errors import UserError
from tvrl_jax.report import alarms
from tvrl_jax.report.metricslog import FILE, read_metrics
from tvrl_jax.results import ALL, MINUS


class Faults(NamedTuple):
    """Sentences."""

    undone: list[str]  # of cells
    alarms: list[str]


def find(plan: Plan, results: Results) -> Faults:
    """Reads the records and logs of all cells: once serves terminal, table and page."""
    return Faults(undone(plan), raised(plan, results))


def undone(plan: Plan) -> list[str]:
    """A sentence for every cell that is not done."""
    found = []
    for cell in plan.cells:
        made = record.read(cell)
        if made is None or not record.same(made, cell):
            found.append(f"{cell.name}: not run yet")
        elif made.code:
            # A probe whose pretraining failed was not begun: its log, if any, is of another time.
            log = "" if made.reason == record.NOT_TRAINED else f" ({record.log_of(cell)})"
            # Of an architecture, one probe alone measures it.
            lost = "; so the table lacks its untrained encoder" * ("untrained" in cell.baselines)
            found.append(f"{cell.name}: {made.reason.rstrip('.')}{log}{lost}")
    return found


def raised(plan: Plan, results: Results) -> list[str]:
    """The alarms of the cells that are done: of the pretrainings' own checks, and of the probes',
    such as patients of pretraining among the test patients. What all seeds say is said of each.
    Then those about the table: what is no better than the same encoder untrained."""
    found = []
    for cell in plan.cells:
        if not record.is_done(plan, cell):
            continue
        try:
            checks = _checks(plan, cell)
        except UserError as error:
            found.append(f"{cell.name}: {error}")
            continue
        found += [f"{cell.name}: {check.alarm}" for check in checks if check.alarm]
    return found + _unhelped(plan, results)


def _checks(plan: Plan, cell: Cell) -> list[alarms.Check]:
    """Raises UserError where a file is damaged, or the log of a pretraining missing."""
    if cell.kind != TRAIN:
        return alarms.load(cell.folder)
    own = plan.pretraining[cell.method].train
    return alarms.check_run(read_metrics(cell.folder / FILE), own.batch_size)


def _unhelped(plan: Plan, results: Results) -> list[str]:
    """Of each method and probe with most labels, over all pretraining seeds."""
    most: dict[str, float] = {}
    for probe, fraction in settings_of(results):
        most.setdefault(probe, fraction)
    lent = {str(plan.pretraining[name].model): name for name in lenders(plan.pretraining)}
    found = []
    for method, config in plan.pretraining.items():
        other = collect.column_name(plan, "untrained", lent[str(config.model)])
        pair = method + MINUS
        named = {method: method, other: "untrained", pair + other: f"{pair}untrained"}
        rows = [
            row | {"method": named[row["method"]]}
            for row in results.rows
            if row["method"] in named and row["pretraining_seed"] == ALL
        ]
        for probe, fraction in most.items():
            alarm = alarms.helped(rows, method, fraction, probe).alarm
            found += [f"{method}: {alarm}"] if alarm else []
    return found
