"""All kinds of inputs by name, and their shares."""

from collections.abc import Iterable

from . import arrays, commands, dicoms, folders, pictures, tables, volumes

MODULES = (commands, tables, arrays, volumes, dicoms, pictures, folders)
TARGETS = {target.name: target for module in MODULES for target in module.TARGETS}


def shares(inputs: int, names: Iterable[str] | None = None) -> dict[str, int]:
    """Target -> number of inputs, by weight; rounded up, so that all are `inputs` or more."""
    chosen = {name: TARGETS[name].weight for name in (names or TARGETS)}
    return {name: -(-inputs * weight // sum(chosen.values())) for name, weight in chosen.items()}
