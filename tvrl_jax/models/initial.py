"""How every parameter starts: one table, so that no layer needs to say it.

All random numbers come from a single draw: compiling one generator per parameter takes a CPU
longer than a hundred training steps. The draw is whole on every device while it lasts.
"""

import math
import re

import jax
import jax.numpy as jnp

_HEADS = "(projection|token|ltn|head)"

# The first pattern that is found in a parameter's path decides.
LAWS = (
    (r"/scale$|/var$", "ones"),
    (rf"^{_HEADS}/norm\w*/bias$", "zeros"),
    (rf"^{_HEADS}/.*(kernel|bias)$", "fan_in"),
    (r"/patches/(conv\d|out)/kernel$", "kaiming"),
    (r"/kernel$", "xavier"),
    (r"/cls$|^mae/mask$", "small"),
    (r"^ltn/basis$", "normal"),
    (r"/bias$|/positions$|/mean$|^token/mask$", "zeros"),
)
_CONSTANT = {"zeros": 0.0, "ones": 1.0}
_UNIFORM = {  # half the width of the interval
    "fan_in": lambda fan_in, fan_out: fan_in**-0.5,
    "xavier": lambda fan_in, fan_out: math.sqrt(6 / (fan_in + fan_out)),
}
_NORMAL = {  # standard deviation
    "kaiming": lambda fan_in, fan_out: math.sqrt(2 / fan_out),
    "small": lambda fan_in, fan_out: 0.02,
    "normal": lambda fan_in, fan_out: 1.0,
}


def initial(shapes: dict, key: jax.Array) -> dict:
    """Float32 parameters for a tree of shapes (as `eval_shape` gives it).

    A kernel is [in, out] or [rows, columns, in, out]; a bias has the fans of its kernel.
    Raises KeyError for a path without a law.
    """
    leaves, tree = jax.tree.flatten_with_path(shapes)
    shape_of = {"/".join(step.key for step in path): leaf.shape for path, leaf in leaves}
    random = [path for path in shape_of if law(path) not in _CONSTANT]
    # The ends are left out: a normal number is the inverse error function of a uniform one.
    drawn = jax.random.uniform(
        key, (sum(math.prod(shape_of[path]) for path in random),), jnp.float32, -1 + 2**-23, 1
    )
    values, start = [], 0
    for path, shape in shape_of.items():
        count = math.prod(shape) if path in random else 0
        share = drawn[start : start + count].reshape(shape) if count else None
        values.append(_value(law(path), shape, *_fans(path, shape_of), share))
        start += count
    return jax.tree.unflatten(tree, values)


def law(path: str) -> str:
    """The name of the law for a parameter's path, such as "encoder/temporal/cls"."""
    for pattern, name in LAWS:
        if re.search(pattern, path):
            return name
    raise KeyError(f"no initial law for {path}")


def _fans(path: str, shape_of: dict) -> tuple[int, int]:
    shape = shape_of.get(path.removesuffix("bias") + "kernel", shape_of[path])
    taps = math.prod(shape[:-2])
    return taps * (shape[-2] if len(shape) > 1 else 1), taps * shape[-1]


def _value(name: str, shape, fan_in: int, fan_out: int, uniform):
    if name in _CONSTANT:
        return jnp.full(shape, _CONSTANT[name], jnp.float32)
    if name in _UNIFORM:
        return uniform * _UNIFORM[name](fan_in, fan_out)
    return jax.lax.erf_inv(uniform) * (math.sqrt(2) * _NORMAL[name](fan_in, fan_out))
