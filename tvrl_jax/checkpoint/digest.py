"""A checksum of an array that may lie on many devices of many processes, in whatever pieces.

Two sums modulo 2^64 of the array's bits, each word weighted by a fixed odd number for every index
that leads to it (multiplicative hashing, Dietzfelbinger et al. 1997, a product of axes). A sum does
not care how it is cut, so every process adds up the pieces that it owns. An odd weight is
invertible: a single changed word always changes both sums, and any other damage goes unnoticed
about once in 2^64 times. It is no defence against someone who forges a checkpoint.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

SUMS = 2
WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
BLOCK = 1 << 22  # words that are widened to 64 bits at a time


def checksums(leaves: list[tuple[str, Any]], agree: Callable) -> dict[str, str]:
    """Hexadecimal digest of each named array's shape, dtype and bits.

    `agree` is that of the processes that share the arrays; all must call this.
    """
    mine = [[int(part) for part in _owned(leaf)] for _, leaf in leaves]
    total = agree(mine, lambda all_of_them: np.sum(np.array(all_of_them, np.uint64), 0).tolist())
    return {
        name: f"{tuple(leaf.shape)} {leaf.dtype} " + "".join(f"{part:016x}" for part in sums)
        for (name, leaf), sums in zip(leaves, total, strict=True)
    }


def _owned(leaf) -> np.ndarray:
    """Sums over this process's share of the array: of pieces that several hold, the first one's."""
    if not isinstance(leaf, jax.Array):
        return sums(np.asarray(leaf), (0,) * np.ndim(leaf))
    share = np.zeros(SUMS, np.uint64)
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            share += sums(np.asarray(shard.data), [index.start or 0 for index in shard.index])
    return share


def sums(piece: np.ndarray, start) -> np.ndarray:
    """uint64 [SUMS] of a piece of an array that begins at the index `start`."""
    if not piece.size:
        return np.zeros(SUMS, np.uint64)
    word = WORDS[piece.dtype.itemsize]
    words = np.ascontiguousarray(piece).view(word).reshape(piece.shape)
    if not words.ndim:
        return np.repeat(words.astype(np.uint64), SUMS)
    *outer, last = [
        _weights(first, size, axis)
        for axis, (first, size) in enumerate(zip(start, words.shape, strict=True))
    ]
    # The weights of an axis vary only along it: the axes are summed over one after another.
    total = _contract(words, last)
    for weight in reversed(outer):
        total = (total * weight).sum(-2, dtype=np.uint64)
    return total


def _contract(words: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sums over the last axis of words times its weights, modulo 2^64: [..., SUMS]."""
    rows = words.reshape(-1, words.shape[-1])
    step = max(1, BLOCK // rows.shape[1])
    parts = [rows[i : i + step].astype(np.uint64) @ weight for i in range(0, len(rows), step)]
    return np.concatenate(parts).reshape(*words.shape[:-1], SUMS)


def _weights(first: int, size: int, axis: int) -> np.ndarray:
    """Odd uint64 [size, SUMS] for the indices from `first` on of an axis: SplitMix64's output
    (Steele et al. 2014)."""
    index = np.arange(first, first + size, dtype=np.uint64)[:, None]
    stream = np.uint64(axis) * np.uint64(SUMS) + np.arange(SUMS, dtype=np.uint64)
    z = (index + (stream << np.uint64(48)) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)
