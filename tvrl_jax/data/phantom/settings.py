"""Which cohort a folder holds: claimed before the first file, sealed after the last."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tvrl_jax.data.phantom.kind import Kind
from tvrl_jax.errors import UserError, nearest, no_room
from tvrl_jax.files import whole_file

SEALED, CLAIMED, LOCK = "phantom.json", "phantom.unfinished.json", ".phantom.lock"


def checked(
    kinds: Mapping[str, Kind], *, kind: str, subjects: int, seed: int, size: int, nuisance: str
) -> dict:
    """The settings as they are written down, or a UserError naming the one that is wrong."""
    if kind not in kinds:
        raise UserError(f'data.phantom.kind: "{kind}" is not a phantom.{nearest(kind, kinds)}')
    if nuisance not in kinds[kind].nuisances:
        hint = nearest(nuisance, kinds[kind].nuisances)
        raise UserError(f'data.phantom.nuisance: "{nuisance}" is not a strength.{hint}')
    if not 1 <= subjects <= 100_000:
        raise UserError(f"data.phantom.subjects: {subjects} should be from 1 to 100000.")
    if seed < 0:
        raise UserError(f"data.phantom.seed: {seed} should be 0 or more.")
    if size % 4 or not 32 <= size <= 512:
        raise UserError(f"data.phantom.size: {size} should be a multiple of 4 from 32 to 512.")
    version = kinds[kind].version
    return dict(
        kind=kind, subjects=subjects, seed=seed, size=size, nuisance=nuisance, version=version
    )


def is_sealed(root: Path, settings: dict) -> bool:
    """Whether `root` holds this very cohort, complete. UserError if it is another one."""
    with must_be_writable(root):
        return _mark(root, settings) == SEALED


def claim(root: Path, settings: dict) -> bool:
    """True if there is something left to write into `root`, False if it is all there.

    For whoever holds the lock. Raises UserError rather than mix two cohorts, or a cohort with files
    of another origin, and where nothing can be written.
    """
    with must_be_writable(root):
        found = _mark(root, settings)
        if found is None:
            _refuse_foreign(root)
            whole_file.write(root / CLAIMED, _text(settings), sync=False)
        return found != SEALED


@contextmanager
def must_be_writable(root: Path) -> Iterator[None]:
    """What the system refuses becomes a UserError, but for a disk that is full."""
    try:
        yield
    except OSError as error:
        if no_room(error):
            raise
        raise UserError(
            f"{root}: cannot write there ({error.strerror}); name a folder that can be made."
        ) from error


def _mark(root: Path, settings: dict) -> str | None:
    """SEALED, CLAIMED or None: what the folder says of itself. UserError for other settings."""
    for name in (SEALED, CLAIMED):
        try:
            content = (root / name).read_bytes()
        except FileNotFoundError:  # perhaps a moment ago: another process may be about to seal it
            continue
        _same(root / name, content, settings)
        return name
    return None


def _refuse_foreign(root: Path) -> None:
    ours = {LOCK, f".{CLAIMED}{whole_file.PART}"}  # the part of a process killed in its first write
    if any(path.name not in ours for path in root.iterdir()):
        raise UserError(
            f"{root}: holds files that are not a phantom of ours; give an empty or a new folder."
        )


def seal(root: Path) -> None:
    """Declares the cohort complete, in one rename."""
    os.replace(root / CLAIMED, root / SEALED)


def _text(settings: dict) -> bytes:
    return (json.dumps(settings, indent=1) + "\n").encode()


def _same(path: Path, content: bytes, settings: dict) -> None:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path}: is not a JSON object; delete the folder and write it anew.")
    for key in settings:
        if found.get(key) != settings[key]:
            raise UserError(
                f"{path}: {key} is {found.get(key)!r} there and {settings[key]!r} here; "
                "give another folder, or delete this one."
            )
