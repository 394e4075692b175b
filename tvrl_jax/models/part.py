"""One Linen module at one place of the parameter tree."""

from typing import Any, NamedTuple

import jax
from flax import linen as nn

from tvrl_jax.models.layers import at_least_float32


class Part(NamedTuple):
    path: tuple[str, ...]  # where its parameters lie
    module: nn.Module
    example: tuple  # arguments to initialise it with
    static: dict[str, Any]  # keyword arguments to initialise it with


def initialise(parts: list[Part], key: jax.Array) -> tuple[dict, dict]:
    """-> (params, extra), each part at its path; extra only where a part has statistics."""
    params, extra = {}, {}
    for part, key_of_part in zip(parts, jax.random.split(key, len(parts)), strict=True):
        variables = part.module.init(key_of_part, *part.example, **part.static)
        params = put(params, part.path, variables["params"])
        if "batch_stats" in variables:
            extra = put(extra, part.path, variables["batch_stats"])
    return params, extra


def apply(part: Part, params, extra, *args, key=None, method=None, **kwargs):
    """-> (what the module gives, extra). Statistics move when `train` is among the arguments."""
    variables = {"params": pick(params, part.path)}
    rngs = None if key is None else {"dropout": key}
    statistics = pick(extra, part.path) if _holds(extra, part.path) else None
    if statistics is None:
        out = part.module.apply(variables, *args, rngs=rngs, method=method, **kwargs)
        return at_least_float32(out), extra
    variables["batch_stats"] = statistics
    if not kwargs["train"]:
        out = part.module.apply(variables, *args, rngs=rngs, method=method, **kwargs)
        return at_least_float32(out), extra
    out, moved = part.module.apply(
        variables, *args, rngs=rngs, method=method, mutable=["batch_stats"], **kwargs
    )
    return at_least_float32(out), put(extra, part.path, moved["batch_stats"])


def pick(tree, path: tuple[str, ...]):
    for name in path:
        tree = tree[name]
    return tree


def put(tree: dict, path: tuple[str, ...], value) -> dict:
    """A copy of the tree with `value` at the path."""
    name, *rest = path
    return {**tree, name: put(tree.get(name, {}), tuple(rest), value) if rest else value}


def _holds(tree, path: tuple[str, ...]) -> bool:
    for name in path:
        if name not in tree:
            return False
        tree = tree[name]
    return True
