"""Frames packed before the spatial encoder, and their features put back where they belong.

packed_GC int32 lists the places of the frames to compute, among the N / G frames of each of G
groups of rows; negative entries fill the list and stand for no frame. A device that holds whole
groups needs no frame of another.
"""

import jax
import jax.numpy as jnp


def gather(x_N: jax.Array, packed_GC: jax.Array) -> jax.Array:
    """[N, ...] -> [G C, ...]; a filler repeats the group's first frame."""
    groups = packed_GC.shape[0]
    x_GM = x_N.reshape(groups, -1, *x_N.shape[1:])
    place_GC = jnp.maximum(packed_GC, 0).reshape(*packed_GC.shape, *[1] * (x_N.ndim - 1))
    return jnp.take_along_axis(x_GM, place_GC, axis=1).reshape(-1, *x_N.shape[1:])


def scatter(feature_PD: jax.Array, packed_GC: jax.Array, count: int) -> jax.Array:
    """[G C, D] -> [count, D], zeros where no frame was computed."""
    groups, capacity = packed_GC.shape
    nowhere = count // groups
    place_GC = jnp.where(packed_GC < 0, nowhere, packed_GC)
    feature_GCD = feature_PD.reshape(groups, capacity, -1)

    def put(feature_CD, place_C):
        empty = jnp.zeros((nowhere, feature_CD.shape[-1]), feature_CD.dtype)
        return empty.at[place_C].set(feature_CD, mode="drop")

    return jax.vmap(put)(feature_GCD, place_GC).reshape(count, -1)
