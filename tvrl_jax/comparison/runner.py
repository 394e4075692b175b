"""Runs the cells, one after the other or several at once, each in a process of its own.

A process of its own gives its memory (and an accelerator's) back, and takes no other cell with it
when it fails.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tvrl_jax.command import shell
from tvrl_jax.comparison import record
from tvrl_jax.comparison.board import Board
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan
from tvrl_jax.comparison.record import Record
from tvrl_jax.signals import Interruption

ROOT = Path(__file__).resolve().parents[2]  # where train.py, probe.py and configs/ are
CONFIG = "--config="
POLL_S = 0.5  # between two looks at the processes
# Else the first of several processes takes three quarters of an accelerator's memory for itself.
SIDE_BY_SIDE = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class Running(NamedTuple):
    """A cell whose process has not ended."""

    cell: Cell
    process: subprocess.Popen
    spent: float  # seconds of earlier attempts that belong to its cost
    begun: float  # seconds since 1970
    rests_on: float  # when what it rests on had ended, at the latest
    ended: float | None  # of a pretraining that was done and is only told where its images lie now


def run(plan: Plan, board: Board, *, resume: bool = False, jobs: int = 1) -> list[Cell]:
    """Runs what is not done yet, `jobs` cells at once; returns the cells that failed.

    With `resume`, a pretraining that was begun with other settings is continued, too.

    Raises:
      SystemExit: 128 + n after signal n, which the running cells have been sent, too.
    """
    waiting, running, failed, sent = [], [], [], False
    for cell in plan.cells:
        if record.is_done(plan, cell):
            board.kept(cell)
        else:
            waiting.append(cell)

    with Interruption() as interruption:

        def end(cell: Cell, made: Record) -> None:
            record.write(cell, made)
            if interruption:
                return  # stopped by us, it has not failed
            if made.code:
                failed.append(cell)
            board.ended(cell, made)

        while running or (waiting and not interruption):
            while len(running) < jobs and not interruption:
                cell = _next(plan, waiting, running)
                if cell is None:
                    break
                waiting.remove(cell)
                if record.is_done(plan, cell):  # its pretraining was only told something
                    board.kept(cell)
                elif cell.kind == TRAIN or record.is_done(plan, plan.pretrained(cell)):
                    running.append(_begin(plan, cell, board, resume, alone=jobs == 1))
                else:
                    record.place(cell).parent.mkdir(parents=True, exist_ok=True)
                    end(cell, Record(cell.arguments, 1, record.NOT_TRAINED, 0.0, time.time()))
            if interruption and not sent:
                for one in running:
                    one.process.send_signal(interruption.number)
                sent = True
            for one in _ended(running):
                running.remove(one)
                end(one.cell, _made(one))
            board.update()
        if interruption:
            board.stopped()
            interruption.leave()
    return failed


def _next(plan: Plan, waiting: list[Cell], running: list[Running]) -> Cell | None:
    """The first cell that need not wait for its pretraining; None if there is none."""
    ahead = {*waiting, *(one.cell for one in running)}
    ready = (c for c in waiting if c.kind == TRAIN or plan.pretrained(c) not in ahead)
    return next(ready, None)


def _begin(plan: Plan, cell: Cell, board: Board, resume: bool, *, alone: bool) -> Running:
    """Starts a cell's process; a pretraining continues where it stopped."""
    before, spent, rests_on, ended = record.read(cell), 0.0, 0.0, None
    if cell.kind == TRAIN:
        goes_on = bool(before) and record.goes_on(before, cell)
        # What an earlier attempt at the same pretraining took, belongs to its cost; so does what
        # was trained with the settings before those with which it now goes on.
        spent = before.seconds if before and (resume or goes_on) else 0.0
        ended = before.ended if goes_on and not before.code else None
    else:
        rests_on = record.read(plan.pretrained(cell)).ended
        shutil.rmtree(cell.folder, ignore_errors=True)  # a probe has nothing to continue from
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    log = record.log_of(cell)
    begun = time.time()
    board.begun(cell, log)
    arguments = (*from_here(cell.arguments), *["--resume"] * (resume and cell.kind == TRAIN))
    with log.open("ab" if cell.kind == TRAIN else "wb") as file:
        file.write(f"$ python {shell.join(arguments)}\n".encode())
        file.flush()
        return Running(cell, _start(arguments, file, alone), spent, begun, rests_on, ended)


def _ended(running: list[Running]) -> list[Running]:
    """Those whose processes have ended, at once if there is one and else within POLL_S."""
    if running and all(one.process.poll() is None for one in running):
        with contextlib.suppress(subprocess.TimeoutExpired):
            running[0].process.wait(POLL_S)
    return [one for one in running if one.process.poll() is not None]


def _made(one: Running) -> Record:
    """The record of a cell whose process has ended."""
    code, now = one.process.returncode, time.time()
    reason = record.reason(record.log_of(one.cell), code) if code else ""
    # A clock may have been ahead when the pretraining ended, and be right now.
    ended = max(now, one.rests_on) if code or one.ended is None else one.ended
    return Record(one.cell.arguments, code, reason, one.spent + now - one.begun, ended)


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


def _start(arguments: Sequence[str], log, alone: bool) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(os.environ) if alone else SIDE_BY_SIDE | os.environ,
        # A session of its own: Ctrl-C reaches it once, through us. It also inherits the lock, so
        # that a cell which outlives us is not started a second time.
        start_new_session=True,
        close_fds=False,
    )
