"""Damage: to bytes anywhere, and values that headers should not have."""

import gzip
import struct
from collections.abc import Sequence

import numpy as np

SIZES = (0, 1, 2, 3, 7, 8, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**60, 2**63)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-300, 3e38, 1e300, np.inf, -np.inf, np.nan, 0.5, 352.0)
WORDS = ("", "nan", "inf", "-inf", "1e999", "-1", "0", "1", "0x10", "1_0", "½", "१", "None", "NA")
WORDS += (
    "True",
    "'",
    '"',
    "{",
    "}",
    "{0}",
    "{subject",
    "%s",
    "../..",
    "\x00",
    "\n",
    "\r",
    "\x1b[2J",
)
WORDS += ("\u202e", "\ud800", "é", "𝕏" * 50, " ", ",", ";", "(", "9" * 400, "a" * 5000)


def pick(rng: np.random.Generator, options: Sequence):
    return options[int(rng.integers(len(options)))]


def bytes_(rng: np.random.Generator, data: bytes) -> bytes:
    """One to eight changes: bits, bytes, numbers, cuts, repeats, swaps; the head more often."""
    array = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        if not array:
            break
        near = len(array) if rng.random() < 0.4 else min(len(array), 400)
        at = int(rng.integers(near))
        change = rng.integers(7)
        if change == 0:
            array[at] ^= 1 << int(rng.integers(8))
        elif change == 1:
            array[at] = int(pick(rng, (0, 1, 127, 128, 255, 10, 34, 44, 92)))
        elif change == 2:
            value = int(pick(rng, SIZES)) & 0xFFFFFFFF
            raw = value.to_bytes(4, pick(rng, ("little", "big")))[: int(pick(rng, (2, 4)))]
            array[at : at + len(raw)] = raw
        elif change == 3:
            del array[at : at + int(rng.integers(1, 65))]
        elif change == 4:
            array[at:at] = array[at : at + int(rng.integers(1, 65))]
        elif change == 5 and rng.random() < 0.3:
            del array[at:]
        elif change == 6:
            array[at : at + 4] = rng.bytes(4)
    return bytes(array)


def field(rng: np.random.Generator, data: bytes, offset: int, code: str) -> bytes:
    """The number at `offset` (a struct code) becomes one that it should not be."""
    if code[-1] in "fd":
        value = float(pick(rng, FLOATS))
        raw = np.array(value, code[0] + {"f": "f4", "d": "f8"}[code[-1]]).tobytes()
    else:
        size = struct.calcsize(code)
        value = int(pick(rng, SIZES)) if rng.random() < 0.7 else int(rng.integers(0, 300))
        raw = (value % (1 << 8 * size)).to_bytes(size, "little" if code[0] == "<" else "big")
    return data[:offset] + raw + data[offset + len(raw) :]


def bomb(rng: np.random.Generator, mebibytes: int) -> bytes:
    """Gzip of many zeros."""
    return gzip.compress(bytes(mebibytes << 20), 1 if rng.random() < 0.5 else 9)
