"""The folder that holds one run and the configuration that it belongs to."""

import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_collections import ConfigDict

from tvrl_jax import settings
from tvrl_jax.errors import UserError
from tvrl_jax.files import artefacts, turn, whole_file

LOG = logging.getLogger("tvrl_jax")

CONFIG = "config.json"
COMPARISON = "comparison.json"


def refuse_other(
    workdir: str,
    config: ConfigDict,
    *,
    resume: bool,
    name: str = CONFIG,
    begun: bool = True,
    apart: tuple[str, ...] = (),
) -> None:
    """Raises UserError if the folder holds another run, or what is no run. Writes nothing.

    What has not `begun`, such as a pretraining that has no checkpoint yet, is no run: another may
    take its place. With `resume`, a run of another configuration is continued, and the log says
    what differs. `apart`: how the keys begin that make it no other run.
    """
    folder = Path(workdir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--workdir={workdir} is a file; name a folder.")
    if name == CONFIG:
        _refuse_foreign(folder)
    if not (folder / name).exists():
        return
    before = read(folder, name)
    if not begun or (name == CONFIG and not is_begun(folder)):
        return
    changed = settings.differences(before, settings.from_json(settings.to_json(config)), apart)
    if changed and not resume:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(
            f"{workdir} holds a run with {changed[0]}{more}; "
            "name another --workdir, or say --resume to continue it all the same."
        )
    for line in changed:
        LOG.warning("resumed although %s", line)


def read(folder: Path, name: str = CONFIG) -> ConfigDict:
    """The configuration that a run folder holds."""
    artefacts.check_file(folder / name)
    try:
        return settings.stored((folder / name).read_text())
    except FileNotFoundError:
        raise UserError(f"{folder} is not a run folder: it holds no {name}.") from None
    except OSError as error:
        raise UserError(f"{folder / name} cannot be read ({error.strerror}).") from None
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise UserError(
            f"{folder / name} is not a configuration: it must hold one JSON object, as the run "
            "that made it wrote it."
        ) from None


def _refuse_foreign(folder: Path) -> None:
    """What other commands wrote is no place for a pretraining."""
    for inside in (folder, folder.parent):
        if any(child.is_dir() for child in inside.glob("[0-9]*/state")):
            raise UserError(
                f"--workdir={folder} lies among the checkpoints of a run; name another."
            )
    if (folder / CONFIG).exists():
        return
    if (folder / "checkpoints").is_dir() and any((folder / "checkpoints").iterdir()):
        raise UserError(f"{folder} holds checkpoints but no {CONFIG}; name an empty folder.")
    refuse_results(folder, ("probe_*.json", COMPARISON), "name an empty folder.")


def refuse_results(folder: Path, patterns: Iterable[str], remedy: str) -> None:
    """Raises UserError where a folder holds what another command made; patterns of such names."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            raise UserError(
                f"{folder} holds {path.relative_to(folder)}, the results of another command; "
                f"{remedy}"
            )


def is_begun(folder: Path) -> bool:
    """Whether anything would be lost with the folder's run: a checkpoint, good or damaged."""
    saved = [path.name for path in (folder / "checkpoints").glob("*")]
    return (folder / "damaged").exists() or any(name.isdecimal() for name in saved)


def make(workdir: str | Path) -> None:
    """Makes the folder."""
    try:
        Path(workdir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot write there ({error.strerror}).") from error


@contextmanager
def lock(folder: Path, *, inherited: bool = False, name: str = ".lock") -> Iterator[None]:
    """Only one run at a time in a folder (of those that take the lock file `name`). UserError while
    another one is at work there.

    Where it is `inherited`, a process that was started meanwhile holds it, too, and may outlive us.
    """
    try:
        file = os.open(folder / name, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise UserError(f"--workdir={folder}: cannot write there ({error.strerror}).") from error
    try:
        who = ", or the cell of one that was killed," if inherited else ""
        _lock(file, folder, f"another run{who}")
        os.set_inheritable(file, inherited)
        yield
    finally:
        os.close(file)


def _lock(file: int, folder: Path, who: str) -> None:
    if not turn.taken(file, fcntl.LOCK_NB):
        raise UserError(
            f"{folder}: {who} is at work there; wait for its end, or name another --workdir."
        )


def prepare(workdir: str | Path, config: ConfigDict, name: str = CONFIG) -> Path:
    """Makes the folder and writes the configuration into it."""
    folder = Path(workdir)
    make(folder)
    try:
        whole_file.write(folder / name, settings.to_json(config) + "\n", shared=True)
    except OSError as error:
        raise UserError(
            f"--workdir={workdir}: cannot write {name} there ({error.strerror})."
        ) from error
    return folder
