"""A comparison's plan without methods to learn: scripts stand for train.py and probe.py."""

import io
from pathlib import Path

from configs import compare as presets
from tvrl_jax.comparison import board, plan, record, runner
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan
from tvrl_jax.comparison.record import Record
from tvrl_jax.probing import predictions


def small_plan(config, folder, known) -> Plan:
    return plan.make(config, Path(folder), known)


def scripted(folder: Path, scripts: dict[str, tuple[str, str]]) -> Plan:
    """A plan of two cells per method; a script is Python that finds its folder in `argv[1]`."""
    folder.mkdir(exist_ok=True)
    cells = []
    for method, pair in scripts.items():
        for kind, text in zip((TRAIN, "linear"), pair, strict=True):
            script = folder / f"{method}_{kind}.py"
            script.write_text(
                "import os, signal, sys, time\n"
                "def make():\n"
                "    os.makedirs(sys.argv[1], exist_ok=True)\n"
                "    open(sys.argv[1] + '/ran', 'a').write('x')\n"
                f"    open(sys.argv[1] + '/{predictions.place('', kind)}', 'w').close()\n" + text
            )
            place = folder / "cells" / method / "seed0" / (TRAIN if kind == TRAIN else "probe")
            cells.append(Cell(method, 0, kind, place, (str(script), str(place))))
    return Plan(presets.get_config(), folder, {}, tuple(cells))


def run(planned: Plan, jobs: int = 1) -> tuple[list[str], str]:
    """Names of the cells that failed, and what was said."""
    said = io.StringIO()
    failed = runner.run(planned, board.Board(planned.cells, stream=said, jobs=jobs), jobs=jobs)
    return [cell.name for cell in failed], said.getvalue()


def finish(cell: Cell) -> None:
    """As if it had been run."""
    cell.folder.mkdir(parents=True)
    record.write(cell, Record(cell.arguments, 0, "", 1.0, 0.0))
    if cell.kind != TRAIN:
        predictions.place(cell.folder, cell.kind).touch()


def ran(planned: Plan) -> list[int]:
    return [len((c.folder / "ran").read_text()) for c in planned.cells if c.folder.is_dir()]
