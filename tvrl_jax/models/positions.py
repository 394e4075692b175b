"""Learned positions of a grid, read off at another grid: a model at a size it was not built for."""

import jax.numpy as jnp
import numpy as np

Grid = tuple[int, int, int]  # tokens along time, rows, columns


def resize(position_ND, old: Grid, new: Grid):
    """Positions of the `old` grid's tokens -> those of the `new` grid's, trilinear.

    As published, so that published models give at other sizes what they gave: the scale of an
    axis is (new + 0.1) / old and not new / old, a guard against rounding in the original that
    shifts every sample a little; samples before the first position take the first. An axis that
    keeps its size is left as it is.
    """
    x = position_ND.reshape(*old, -1)
    for axis in range(3):
        if old[axis] != new[axis]:
            weight = jnp.asarray(linear(old[axis], new[axis]), x.dtype)
            x = jnp.moveaxis(jnp.tensordot(weight, x, (1, axis)), 0, axis)
    return x.reshape(-1, position_ND.shape[-1])


def linear(old: int, new: int) -> np.ndarray:
    """Weights [new, old]: each new place lies between two old ones, centres at half pixels."""
    place = (np.arange(new) + 0.5) * old / (new + 0.1) - 0.5
    place = np.maximum(place, 0)
    left = np.minimum(np.floor(place).astype(int), old - 1)
    share = np.where(left < old - 1, place - left, 0)
    weight = np.zeros((new, old))
    np.add.at(weight, (np.arange(new), left), 1 - share)
    np.add.at(weight, (np.arange(new), np.minimum(left + 1, old - 1)), share)
    return weight
