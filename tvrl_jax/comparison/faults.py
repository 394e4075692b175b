"""What a reader of a comparison is told beside its numbers: cells that are not done, alarms, and
what its probes left out."""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from tvrl_jax.comparison import collect, record
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan, lenders
from tvrl_jax.comparison.summary import Results, settings_of
from tvrl_jax.errors import UserError
from tvrl_jax.report import alarms, facts
from tvrl_jax.report.metricslog import FILE, read_metrics
from tvrl_jax.results import ALL, MINUS


class Faults(NamedTuple):
    """Sentences."""

    undone: list[str]  # of cells
    alarms: list[str]
    notes: Sequence[str] = ()  # of the probes: labels and resamples that are left out, small tests


def find(plan: Plan, results: Results) -> Faults:
    """Reads the records and logs of all cells: once serves terminal, table and page."""
    return Faults(undone(plan), raised(plan, results), said(plan))


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
        facts.load(cell.folder)  # `said` passes over what cannot be read
        return alarms.load(cell.folder)
    own = plan.pretraining[cell.method].train
    return alarms.check_run(read_metrics(cell.folder / FILE), own.batch_size)


def said(plan: Plan) -> list[str]:
    """The notes of the probes that are done, each once: after the kind of probe or the cells that
    it is of, where it is not of all."""
    found: dict[str, list[Cell]] = {}
    done = [c for c in plan.cells if c.kind != TRAIN and record.is_done(plan, c)]
    for cell in done:
        with contextlib.suppress(UserError):  # `raised` tells it
            for sentence in facts.load(cell.folder):
                found.setdefault(sentence, []).append(cell)
    return [_sayers(own, done) + sentence for sentence, own in found.items()]


def _sayers(own: list[Cell], done: list[Cell]) -> str:
    if own == done:
        return ""
    kinds = list(dict.fromkeys(cell.kind for cell in own))
    if own == [cell for cell in done if cell.kind in kinds]:
        return f"{', '.join(kinds)} probe: "
    return f"{', '.join(cell.name for cell in own)}: "


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
