"""Files that a run or a probe wrote, read back: they may have been damaged, or edited, since."""

import json
import os
from pathlib import Path

import numpy as np

from tvrl_jax.errors import UserError, reading
from tvrl_jax.files import archive


def check_file(path: str | Path) -> None:
    """Raises UserError for a pipe or a device, of which reading may never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path} is a folder, a pipe or a device; a file is right.")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file. Raises UserError."""
    check_file(path)
    return archive.read_arrays(os.fspath(path))


def read_text(path: str | Path) -> str:
    """Raises UserError for a file that cannot be read, or is not UTF-8."""
    check_file(path)
    with reading(os.fspath(path), UnicodeDecodeError):
        return Path(path).read_text(encoding="utf-8")


def read_json(path: str | Path, kind: type = dict):
    """One JSON value of a `kind` (dict or list). Raises UserError."""
    word = {dict: "object", list: "list"}[kind]
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise UserError(
            f"{path} is damaged: it must hold one JSON {word}, as a run or a probe wrote it."
        )
    return found
