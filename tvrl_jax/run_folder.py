"""The folder that holds one run and the configuration that it belongs to."""

import json
import logging
import os
from pathlib import Path

from ml_collections import ConfigDict

from tvrl_jax import settings
from tvrl_jax.errors import UserError

LOG = logging.getLogger("tvrl_jax")

CONFIG = "config.json"


def refuse_other(workdir: str, config: ConfigDict, *, resume: bool, name: str = CONFIG) -> None:
    """Raises UserError if the folder holds another run, or what is no run. Writes nothing.

    With `resume`, a run of another configuration is continued, and the log says what differs.
    """
    folder = Path(workdir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--workdir={workdir} is a file; name a folder.")
    if not (folder / name).exists():
        if name == CONFIG and (folder / "checkpoints").exists():
            raise UserError(f"{workdir} holds checkpoints but no {name}; name an empty folder.")
        return
    before = read(folder, name)
    changed = settings.differences(before, settings.from_json(settings.to_json(config)))
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
    try:
        return settings.from_json((folder / name).read_text())
    except FileNotFoundError:
        raise UserError(f"{folder} is not a run folder: it holds no {name}.") from None
    except (json.JSONDecodeError, AttributeError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / name} is not a configuration: {error}.") from error


def prepare(workdir: str, config: ConfigDict, name: str = CONFIG) -> Path:
    """Makes the folder and writes the configuration into it."""
    folder = Path(workdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_text(settings.to_json(config) + "\n")
        partial.replace(folder / name)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot write there ({error.strerror}).") from error
    return folder
