"""Where a batch's real frames are, so that no work is done on padding.

Series of visits are short and uneven: half of a padded batch can be padding. The frames that are
there are listed, and the list is filled up to a capacity: few different lengths, since each is a
compiled program of its own. Every device packs the frames of its own rows (a group), so that no
frame travels.
"""

from typing import NamedTuple

import numpy as np

FILLER = -1  # a place of the list that holds no frame


class Packing(NamedTuple):
    groups: int  # devices that share the global batch, over all processes, x pieces
    capacities: int  # the lengths to choose from: 1/n, 2/n, ... n/n of a group's frames
    pieces: int = 1  # that a batch is computed in; row i belongs to piece i % pieces


def capacity(valid_BVT: np.ndarray, packing: Packing) -> int:
    """The smallest length that holds the real frames of every group and view of the global batch.

    Each process sees all of the global batch's plans, so all of them come to the same length.
    """
    rows, _, frames = valid_BVT.shape
    size = rows // packing.groups * frames
    count_GV = grouped(valid_BVT, packing.groups, packing.pieces).sum((1, 3))
    step = -(-size // packing.capacities)
    return min(size, step * -(-int(count_GV.max()) // step))


def grouped(valid_BVT: np.ndarray, groups: int, pieces: int) -> np.ndarray:
    """[groups, rows of a group, V, T]: each device's rows, piece by piece."""
    rest = valid_BVT.shape[1:]
    by_device = valid_BVT.reshape(groups // pieces, -1, pieces, *rest)
    return by_device.swapaxes(1, 2).reshape(groups, -1, *rest)


def places(valid_BVT: np.ndarray, groups: int, length: int, pieces: int = 1) -> np.ndarray:
    """packed_GVC int32: places of the real frames among a group's rows x frames, then FILLER."""
    views = valid_BVT.shape[1]
    valid_GVN = np.moveaxis(grouped(valid_BVT, groups, pieces), 2, 1).reshape(groups, views, -1)
    packed_GVC = np.full((groups, views, length), FILLER, np.int32)
    for valid_VN, packed_VC in zip(valid_GVN, packed_GVC, strict=True):
        for valid_N, packed_C in zip(valid_VN, packed_VC, strict=True):
            place_M = np.flatnonzero(valid_N)
            packed_C[: len(place_M)] = place_M
    return packed_GVC
