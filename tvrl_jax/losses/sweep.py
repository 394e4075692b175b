"""Every row meets every row, one tile of queries and one of keys at a time.

On one device the tiles lie in memory; over several, blocks of keys travel round a ring of them, so
that each passes by every device and none ever holds more than its own block and a visiting one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Spread = Callable[..., Any]  # runs f(*rows, axis=...) on each device's share of the rows


def alone(function: Callable, *rows: Any) -> Any:
    """A Spread over one device: it has all rows, and there is no ring."""
    return function(*rows, axis=None)


def sweep(fold: Callable, start: Any, own: Any, guest: Any, *, tile: int, axis: str | None) -> Any:
    """-> `start` after every own row met the guest rows of every device.

    Args:
      fold: (carry_Q, own_Q, guest_K) -> carry_Q, for one tile of each. It must give no weight to
        guests of zeros, which fill the last tile.
      start, own, guest: pytrees with one leading axis, this device's rows.
      tile: rows of a tile at most.
      axis: the mesh axis to go round under shard_map; None = there is one device.
    """
    rows = len(jax.tree.leaves(own)[0])
    carry, own, guest = (_cut(tree, rows, tile) for tree in (start, own, guest))

    def visit(carry, guest):
        def one(pair):
            carry_Q, own_Q = pair
            each = lambda carry_Q, guest_K: (fold(carry_Q, own_Q, guest_K), None)  # noqa: E731
            return jax.lax.scan(each, carry_Q, guest)[0]

        return jax.lax.map(one, (carry, own))

    def hop(state, _):
        carry, guest = state
        # The block is passed on while it is worked with: neither waits for the other.
        return (visit(carry, guest), _pass_on(guest, axis)), None

    if axis is not None:
        hops = jax.lax.axis_size(axis) - 1
        (carry, guest), _ = jax.lax.scan(hop, (carry, guest), length=hops)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:rows], visit(carry, guest))


def _cut(tree: Any, rows: int, tile: int) -> Any:
    """[rows, ...] -> [tiles, side, ...], tiles of nearly equal sides, zeros at the end."""
    tiles = max(-(-rows // tile), 1)
    side = -(-rows // tiles)

    def cut(x):
        padded = jnp.pad(x, [(0, tiles * side - rows)] + [(0, 0)] * (x.ndim - 1))
        return padded.reshape(tiles, side, *x.shape[1:])

    return jax.tree.map(cut, tree)


def _pass_on(tree: Any, axis: str) -> Any:
    size = jax.lax.axis_size(axis)
    ring = [(k, (k + 1) % size) for k in range(size)]
    return jax.tree.map(lambda x: jax.lax.ppermute(x, axis, ring), tree)
