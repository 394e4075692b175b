"""What a compiled program says of itself: what crosses devices, and what the compiler reckons."""

import math
import re
from collections import Counter
from typing import NamedTuple

COLLECTIVE = re.compile(
    r"= (?P<type>\(.*?\)|\S+) "
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\("
)
ARRAY = re.compile(r"(?P<dtype>[a-z]+)(?P<bits>\d*)\[(?P<shape>[\d,]*)\]")
CHANNEL = re.compile(r"channel_id=(\d+)")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


class Moved(NamedTuple):
    """An array that a collective yields."""

    kind: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def collectives(program: str) -> list[Moved]:
    """Every array that a collective of a compiled program's text yields.

    The TPU compiler writes one that runs beside several fusions into each: its channel counts once.
    The GPU compiler notes what one is given, too, where other work runs beside it.
    """
    found, channels = [], set()
    for line in program.splitlines():
        match, channel = COLLECTIVE.search(line), CHANNEL.search(line)
        if not match or (channel and channel[1] in channels):
            continue
        if channel:
            channels.add(channel[1])
        arrays = list(ARRAY.finditer(match["type"]))
        if match["type"].startswith("(("):  # for GPUs: ((what it is given), what it yields)
            arrays = arrays[len(arrays) // 2 :]
        for array in arrays:
            shape = tuple(int(n) for n in array["shape"].split(",") if n)
            width = max(int(array["bits"] or 8) // 8, 1)
            dtype = array["dtype"] + array["bits"]
            found.append(Moved(match[2], dtype, shape, math.prod(shape) * width))
    return found


def bytes_by_kind(moved: list[Moved]) -> Counter:
    """kind of collective -> bytes of all that it yields."""
    total = Counter()
    for one in moved:
        total[one.kind] += one.bytes
    return total


def cycles(program: str) -> int:
    """Sum of what the TPU compiler reckons for each operation; the body of a loop counts once.

    0 where a compiler notes no such figure, as for a CPU.
    """
    return sum(int(count) for count in CYCLES.findall(program))
