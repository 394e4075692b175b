"""One Linen module at one place of the parameter tree."""

import functools
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from tvrl_jax.losses import wide
from tvrl_jax.models.initial import initial


class Part(NamedTuple):
    path: tuple[str, ...]  # where its parameters lie
    module: nn.Module
    example: tuple  # arguments to initialise it with
    static: dict[str, Any]  # keyword arguments to initialise it with


def initialise(parts: list[Part], key: jax.Array) -> tuple[dict, dict]:
    """-> (params, extra), each part at its path; extra only where a part has statistics."""
    shapes, extra = {}, {}
    for part in parts:
        start = functools.partial(part.module.init, **part.static)
        variables = jax.eval_shape(start, key, *part.example)
        shapes = put(shapes, part.path, variables["params"])
        if "batch_stats" in variables:
            extra = put(extra, part.path, initial(variables["batch_stats"], key))
    return initial(shapes, key), extra


def apply(part: Part, params, extra, *args, **kwargs):
    """-> (what the module gives, extra). Statistics move when `train` is among the arguments."""
    variables = _variables(part, params, extra)
    if not ("batch_stats" in variables and kwargs["train"]):
        return wide(part.module.apply(variables, *args, **kwargs)), extra
    out, moved = part.module.apply(variables, *args, mutable=["batch_stats"], **kwargs)
    return wide(out), put(extra, part.path, moved["batch_stats"])


def apply_given(part: Part, params, extra, moments: dict, *args, **kwargs):
    """-> (what the module gives, the moments by which each BatchNorm normalised), in training.

    A BatchNorm whose batch's moments are not among those given takes its rows' own.
    """
    variables = _variables(part, params, extra) | {"moments": moments}
    out, used = part.module.apply(variables, *args, mutable=["moments"], train=True, **kwargs)
    return wide(out), used["moments"]


def _variables(part: Part, params, extra) -> dict:
    variables = {"params": pick(params, part.path)}
    statistics = functools.reduce(lambda tree, name: tree.get(name, {}), part.path, extra)
    return variables | ({"batch_stats": statistics} if statistics else {})


def pick(tree, path: tuple[str, ...]):
    for name in path:
        tree = tree[name]
    return tree


def put(tree: dict, path: tuple[str, ...], value) -> dict:
    """A copy of the tree with `value` at the path."""
    name, *rest = path
    return {**tree, name: put(tree.get(name, {}), tuple(rest), value) if rest else value}
