"""Scalars of any library as plain Python values, so that JSON and the terminal can show them."""

import math
from collections.abc import Mapping


def plain(value: object) -> object:
    """The JSON form of a metric: numbers, text, lists and dicts; null for NaN and Inf."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    import numpy as np  # here alone: a mistaken setting is told without it, and so at once

    return plain(np.asarray(value).tolist())  # a scalar or array of numpy or jax


def is_number(value: object) -> bool:
    """Whether `value`, in its plain form, is a number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
