"""The checksum of an array does not depend on the pieces in which it lies, and notices damage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tvrl_jax import sharding
from tvrl_jax.checkpoint import digest
from tvrl_jax.peers import Alone

DTYPES = (np.float32, np.int32, np.uint8, np.bool_, jnp.bfloat16, np.float64)


def _digest(array) -> str:
    return digest.checksums([("x", array)], Alone().agree)["x"]


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(1, 7), max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return (rng.normal(size=shape) * 100).astype(draw(st.sampled_from(DTYPES)))


def _naive(array: np.ndarray, which: int) -> int:
    """One word after another, in whole numbers."""
    word = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[array.dtype.itemsize]
    words = np.ascontiguousarray(array).view(word).reshape(array.shape)
    total = 0
    for index, value in np.ndenumerate(words):
        weight = 1
        for axis, i in enumerate(index):
            weight *= int(digest._weights(i, 1, axis)[0, which])
        total += int(value) * weight
    return total % 2**64


@settings(deadline=None)
@given(arrays())
def test_sums_equal_a_loop(array):
    found = digest.sums(array, (0,) * array.ndim)
    assert [int(s) for s in found] == [_naive(array, 0), _naive(array, 1)]


@settings(deadline=None)
@given(arrays(), st.data())
def test_pieces_add_up(array, data):
    whole = digest.sums(array, (0,) * array.ndim)
    if not array.ndim:
        return
    axis = data.draw(st.integers(0, array.ndim - 1))
    cut = data.draw(st.integers(0, array.shape[axis]))
    first, second = np.split(array, [cut], axis)
    start = [cut if k == axis else 0 for k in range(array.ndim)]
    np.testing.assert_array_equal(
        digest.sums(first, (0,) * array.ndim) + digest.sums(second, start), whole
    )


@settings(deadline=None)
@given(arrays(), st.data())
def test_a_flipped_bit_is_noticed(array, data):
    damaged = np.array(array)
    content = damaged.reshape(-1).view(np.uint8)
    content[data.draw(st.integers(0, content.size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert _digest(damaged) != _digest(array)


def test_what_else_can_go_wrong_is_noticed():
    array = np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32)
    swapped, shifted, lost = array[::-1], np.roll(array, 1), np.where(array > 2, 0, array)
    others = [swapped, shifted, lost, array.T, array.reshape(16, 32), array.view(np.int32), -array]
    assert len({_digest(np.array(a)) for a in (array, *others)}) == 8


@pytest.mark.parametrize("spec", [P(), P("data"), P(None, "data")])
def test_an_array_on_many_devices_has_the_checksum_of_the_whole(spec):
    array = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)
    spread = jax.device_put(array, NamedSharding(sharding.make_mesh(), spec))
    assert _digest(spread) == _digest(array)


def test_processes_add_up_their_shares():
    """Two processes that own half of an array each come to what one comes to."""
    array = np.arange(24, dtype=np.float32).reshape(6, 4)
    halves = [[digest.sums(array[:3], (0, 0)).tolist()], [digest.sums(array[3:], (3, 0)).tolist()]]

    def agree(mine, combine):
        return combine(halves)

    assert digest.checksums([("x", array)], agree)["x"] == _digest(array)
