"""What --help prints: the command, its flags, and every setting with its value and its meaning."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from tvrl_jax import settings

KEY = re.compile(r"^\s*c\.([\w.]+) = [^#]*?(?:  # (.*))?$")
COMMENT = re.compile(r"^\s*# (.*)$")
WIDTH = 44  # of `--config.key=value`
PAGE = 120


def comments(source: str) -> dict[str, str]:
    """Key -> what its line says of it, or the lines right above; in the order of the source."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in source.splitlines():
        comment, key = COMMENT.match(line), KEY.match(line)
        if key:
            found.setdefault(key[1], key[2] or " ".join(above))
        above = [*above, comment[1]] if comment else []
    return found


def text(doc: str, flags: Iterable[str], config: ConfigDict, said: dict[str, str]) -> str:
    """The whole page. `said`: key -> comment, in the order in which keys are listed."""
    lines = [doc.strip(), "", "Flags:", *flags, "", "Settings and their values:"]
    return "\n".join([*lines, *_settings(config, said)])


def _settings(config: ConfigDict, said: dict[str, str]) -> Iterator[str]:
    place = {key: k for k, key in enumerate(said)}
    sections = {key: place.get(key, len(place)) for key in config}
    for name in sorted(sections, key=sections.__getitem__):
        if not isinstance(config[name], ConfigDict):
            yield _line(name, config[name], said)
            continue
        values = dict(settings.leaves(config[name], f"{name}."))
        heading = f"{name}: {said[name]}" if said.get(name) else name
        yield "\n" + textwrap.fill(
            heading, PAGE, initial_indent="  ", subsequent_indent=" " * (len(name) + 4)
        )
        if values and not any(key in said for key in values):
            yield f"  --config.{name}.KEY=VALUE"  # a section that holds another file's keys
            continue
        for key in sorted(values, key=lambda key: place.get(key, len(place))):
            yield _line(key, values[key], said)


def _line(key: str, value: Any, said: dict[str, str]) -> str:
    setting, comment = f"  --config.{key}={_short(value)}", said.get(key, "")
    margin = " " * (WIDTH + 4)
    below = textwrap.wrap(comment, PAGE, initial_indent=margin, subsequent_indent=margin)
    if below and len(setting) <= WIDTH + 2:
        below[0] = setting + below[0][len(setting) :]
        return "\n".join(below)
    return "\n".join([setting, *below])


def _short(value: Any) -> str:
    """A value as it is typed; of a long tuple of numbers the ends."""
    if isinstance(value, tuple) and len(value) > 8 and isinstance(value[0], float):
        return f"({value[0]:g}, {value[1]:g}, ..., {value[-1]:g})"
    return str(value)


def source_of(module_or_path: Any) -> str:
    """The text of a module, or of a file."""
    if inspect.ismodule(module_or_path):
        return inspect.getsource(module_or_path)
    with open(module_or_path, encoding="utf-8") as file:
        return file.read()
