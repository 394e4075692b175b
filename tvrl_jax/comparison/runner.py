"""Runs the cells one after the other, each in a process of its own.

A process of its own gives its memory (and an accelerator's) back, and takes no other cell with it
when it fails.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tvrl_jax import shell
from tvrl_jax.comparison import record
from tvrl_jax.comparison.board import Board
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan
from tvrl_jax.comparison.record import Record
from tvrl_jax.signals import Interruption

ROOT = Path(__file__).resolve().parents[2]  # where train.py, probe.py and configs/ are
CONFIG = "--config="
POLL_S = 0.5  # between two looks at a process


def run(plan: Plan, board: Board, *, resume: bool = False) -> list[Cell]:
    """Runs what is not done yet; returns the cells that failed.

    With `resume`, a pretraining that was begun with other settings is continued, too.

    Raises:
      SystemExit: 128 + n after signal n, which the running cell has been sent, too.
    """
    failed = []
    with Interruption() as interruption:
        for cell in plan.cells:
            if record.is_done(plan, cell):
                board.kept(cell)
                continue
            if cell.kind != TRAIN and not record.is_done(plan, plan.pretrained(cell)):
                made = Record(cell.arguments, 1, record.NOT_TRAINED, 0.0, time.time())
                record.place(cell).parent.mkdir(parents=True, exist_ok=True)
                record.write(cell, made)
            else:
                made = run_cell(cell, board, interruption, resume)
            if made.code:
                failed.append(cell)
            board.ended(cell, made)
    return failed


def run_cell(cell: Cell, board: Board, interruption: Interruption, resume: bool) -> Record:
    """Runs one cell to its end and records it; a pretraining continues where it stopped."""
    before = record.read(cell)
    # What an earlier attempt at the same pretraining took, belongs to its cost; so does what was
    # trained with the settings before those with which it now goes on.
    spent = before.seconds if before and (resume or record.same(before, cell)) else 0.0
    if cell.kind != TRAIN:
        spent = 0.0
        shutil.rmtree(cell.folder, ignore_errors=True)  # a probe has nothing to continue from
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    log = record.log_of(cell)
    begun = time.time()
    board.begun(cell, log)
    arguments = (*from_here(cell.arguments), *["--resume"] * (resume and cell.kind == TRAIN))
    with log.open("ab" if cell.kind == TRAIN else "wb") as file:
        file.write(f"$ python {shell.join(arguments)}\n".encode())
        file.flush()
        code = _wait(_start(arguments, file), board, interruption)
    reason = record.reason(log, code) if code else ""
    made = Record(cell.arguments, code, reason, spent + time.time() - begun, time.time())
    record.write(cell, made)
    if interruption:
        board.close()
        interruption.leave()
    return made


def from_here(arguments: Sequence[str]) -> tuple[str, ...]:
    """A cell's arguments with paths from the working folder to the script and its configuration.

    A cell names both as they lie in the repository, so that it is the same one wherever the
    comparison is started from. Its other paths are the user's, from the working folder.
    """
    script, *flags = arguments
    return (
        os.path.relpath(ROOT / script),
        *(
            CONFIG + os.path.relpath(ROOT / flag.removeprefix(CONFIG))
            if flag.startswith(CONFIG)
            else flag
            for flag in flags
        ),
    )


def _start(arguments: Sequence[str], log) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        # A session of its own: Ctrl-C reaches it once, through us. It also inherits the lock, so
        # that a cell which outlives us is not started a second time.
        start_new_session=True,
        close_fds=False,
    )


def _wait(process: subprocess.Popen, board: Board, interruption: Interruption) -> int:
    sent = False
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            board.update()
        if interruption and not sent:
            process.send_signal(interruption.number)
            sent = True
