"""Flags of a command that has no configuration."""

from collections.abc import Callable
from typing import NoReturn

from absl import app, flags


def parse(argv: list[str], stop: Callable[[str], NoReturn]) -> list[str]:
    """Parses as `app.run` does; what is wrong with the flags goes to `stop`, in one sentence."""
    try:
        if any(a.startswith("--help") for a in argv):
            return app.parse_flags_with_usage(argv)
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        return stop(str(error))
    if len(rest) > 1:
        stop(f'"{rest[1]}" is not a flag; settings are given as --name=value.')
    return rest
