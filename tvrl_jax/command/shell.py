"""A command as someone would type it."""

import shlex
from collections.abc import Iterable

LIVE = set('"$`\\!')  # what a shell reads between double quotes, too


def join(arguments: Iterable[str]) -> str:
    """The arguments in one line that a shell splits into the same again.

    A tuple of text, such as --config.methods=('a','b'), stands in double quotes: to escape the
    single ones inside single ones is right, and cannot be read.
    """
    return " ".join(map(_quote, arguments))


def _quote(argument: str) -> str:
    if "'" in argument and not LIVE & set(argument):
        return f'"{argument}"'
    return shlex.quote(argument)
