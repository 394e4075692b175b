"""The file that --config names: found, executed and told apart from what is no configuration."""

import inspect
import os
import runpy
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from tvrl_jax.errors import UserError, nearest, shorten

# The key that tells whose configuration it is.
COMMANDS = {"method": "train.py", "kind": "probe.py", "methods": "python -m tvrl_jax.compare"}
EXAMPLES = {"method": "configs/tvrl.py", "kind": "configs/probe_linear.py"}


def load(value: str, template: ConfigDict) -> ConfigDict:
    """The configuration of --config=`value`, FILE or FILE:PRESET, before any key is changed.

    Raises UserError for what is no configuration, or that of another command than `template`'s.
    """
    path, colon, preset = value.partition(":")
    wanted = _owner(template)
    example = EXAMPLES.get(wanted, "configs/compare.py:phantom_cardiac")
    if not path or path.startswith("-"):
        raise UserError(f"--config is empty; name a file such as {example}.")
    _check_file(path)
    make = _execute(path).get("get_config")
    if not callable(make):
        raise UserError(
            f"--config={value}: {path} has no get_config() and is no configuration; name one such "
            f"as {example}."
        )
    if colon and not _takes_preset(make):
        raise UserError(
            f'--config={value}: {path} takes no preset; leave ":{preset}" out'
            f"{' (the cohort is that of the checkpoint)' if wanted == 'kind' else ''}."
        )
    config = _call(path, make, *([preset] if colon else []))
    found = _owner(config) if isinstance(config, ConfigDict) else ""
    if found:
        _check_keys(value, config)
    if found != wanted:
        whose = f"a configuration of {COMMANDS[found]}" if found else "no configuration"
        raise UserError(
            f"--config={value} is {whose}, not of {COMMANDS[wanted]}; name one such as {example}."
        )
    return config


def _owner(config: ConfigDict) -> str:
    return next((key for key in COMMANDS if key in config), "")


def _check_file(path: str) -> None:
    if os.path.isdir(path):
        raise UserError(f"--config: {path} is a folder; name a file in it.")
    if not os.path.isfile(path):
        known = [str(p) for p in Path(path).parent.glob("*.py") if not p.name.startswith("_")]
        hint = nearest(path, known) if Path(path).parent.name else " See configs/."
        raise UserError(f"--config: there is no file {path}.{hint}")


def _execute(path: str) -> dict:
    try:
        return runpy.run_path(path)
    except (Exception, SystemExit) as error:
        raise UserError(_failed(path, error)) from error


def _call(path: str, make, *preset: str):
    try:
        return make(*preset)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(_failed(path, error)) from error


def _takes_preset(make) -> bool:
    try:
        return bool(inspect.signature(make).parameters)
    except (ValueError, TypeError):  # not written in Python
        return False


def _check_keys(value: str, section: ConfigDict, above: tuple[ConfigDict, ...] = ()) -> None:
    """An unlocked configuration may hold itself, and walking through it would not end."""
    if any(section is other for other in above):
        raise UserError(f"--config={value} has a section that holds itself: take it out.")
    try:
        keys = list(section)  # sorted
    except TypeError:
        keys = [None]
    for key in keys:
        if not isinstance(key, str):
            raise UserError(f"--config={value} has a key that is no text: name it by a word.")
        if isinstance(section[key], ConfigDict):
            _check_keys(value, section[key], (*above, section))


def _failed(path: str, error: BaseException) -> str:
    """Where in the file it failed: anything may be named by --config, and anybody may write one."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return (
        f"--config: {path} is no configuration that can be executed ({type(error).__name__}"
        f"{f', line {line}' if line else ''}: {shorten(' '.join(said.split()))}); see configs/."
    )
