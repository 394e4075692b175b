"""metrics.jsonl: one JSON object a line, the record of a run; TensorBoard beside it, if wanted."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tvrl_jax.errors import UserError
from tvrl_jax.report.progress import Progress
from tvrl_jax.report.scalars import is_number, plain

__all__ = ["FILE", "MetricsLog", "Progress", "read_metrics", "truncate"]

FILE = "metrics.jsonl"


class MetricsLog:
    """Appends rows to `folder`/metrics.jsonl and, with `tensorboard`, to `folder`/tensorboard/.

    A row's step is the number of the update that made it, counted from 0, so a run that resumes
    from the state after `resume_step` updates makes the rows from `resume_step` on again. Those are
    removed when the log is opened; a resumed run then leaves the file of an uninterrupted one.
    Every row reaches the operating system at once: a killed process loses at most a part of one.
    """

    def __init__(self, folder: str | Path, tensorboard: bool, resume_step: int = 0):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        truncate(self.path, resume_step)
        self._file = self.path.open("a", buffering=1, encoding="utf-8")
        self._board = _board(folder / "tensorboard", resume_step) if tensorboard else None

    def write(self, step: int, metrics: Mapping[str, object]) -> None:
        """Adds {"step": step, **metrics}; any library's scalars are taken, NaN and Inf are null."""
        row = {"step": int(step)} | {name: plain(value) for name, value in metrics.items()}
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        if self._board:
            for name, value in row.items():
                if name != "step" and is_number(value):
                    self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image_HWC: np.ndarray) -> None:
        """Adds a picture (uint8, or float in [0, 1]) to TensorBoard; nothing without it."""
        if self._board:
            self._board.add_image(name, image_HWC, step, dataformats="HWC")

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()


def _board(folder: Path, resume_step: int):
    from tensorboardX import SummaryWriter  # 0.2 s, and only for those who want it

    return SummaryWriter(str(folder), purge_step=resume_step)


def read_metrics(path: str | Path) -> list[dict]:
    """The rows of metrics.jsonl. A last line torn by a kill is left out.

    Raises UserError where the file is missing, or a line before the last is no JSON object.
    """
    return [json.loads(line) for line in _whole_lines(Path(path))]


def truncate(path: str | Path, step: int) -> None:
    """Removes the rows from `step` on, and a torn last line, in one atomic replacement."""
    path = Path(path)
    if not path.exists():
        return
    kept = [line for line in _whole_lines(path) if json.loads(line)["step"] < step]
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path} does not exist; a run folder with a {FILE} is needed.")
    # A kill may cut a character of several bytes in two: the replacement keeps the line readable
    # enough to be recognised as torn.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    lines = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    whole = []
    for number, line in lines:
        if _is_row(line):
            whole.append(line)
        elif number != lines[-1][0]:
            raise UserError(
                f'{path} line {number} is no row of metrics: {{"step": 0, ...}} is right.'
            )
    return whole


def _is_row(line: str) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and "step" in row
