"""Laws of what touches text and bytes of others, over inputs that hypothesis thinks of."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from fuzz import law
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvrl_jax.data import times
from tvrl_jax.data.readers import dicom_stream, read
from tvrl_jax.errors import LONGEST, UserError
from tvrl_jax.files import archive

KINDS = hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.boolean_dtypes()
SHAPES = hnp.array_shapes(min_dims=2, max_dims=5, max_side=4)


@contextmanager
def _named(suffix: str, data: bytes) -> Iterator[str]:
    """A file of its own for every example."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"a{suffix}")
        with open(path, "wb") as file:
            file.write(data)
        yield path


quick = settings(max_examples=50, deadline=None)


@quick
@given(st.text(st.characters(), max_size=3000))
def test_any_text_makes_one_line(text):
    said = str(UserError(f"x{text}"))
    law.check_sentence(said)
    assert len(said) <= LONGEST
    if text.isprintable() and len(text) < LONGEST:
        assert said == f"x{text}"


@quick
@given(st.text("0123456789.-+eE_ ,;[]()naifyIN½é१\n\0"))
def test_a_cell_of_times_is_finite_numbers_or_a_value_error(text):
    try:
        found = times.parse_times(text)
    except ValueError:
        return
    assert all(isinstance(value, float) and np.isfinite(value) for value in found)


@quick
@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51"]))
def test_a_packed_frame_states_a_size_or_none(data, start):
    found = dicom_stream.packed_size(start + data)
    assert found is None or min(found) >= 0


@quick
@given(st.dictionaries(st.text("abc/_ é", min_size=1, max_size=6), hnp.arrays(KINDS, SHAPES)))
def test_an_npz_comes_back_as_it_was(arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **{f"x{name}": array for name, array in arrays.items()})
    with _named(".npz", file.getvalue()) as path:
        found = archive.read_arrays(path)
    assert set(found) == {f"x{name}" for name in arrays}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[f"x{name}"], array)
        assert found[f"x{name}"].dtype == array.dtype


@quick
@given(hnp.arrays(KINDS, SHAPES))
def test_an_array_that_is_read_is_the_array(array):
    file = io.BytesIO()
    np.save(file, array)
    with _named(".npy", file.getvalue()) as path:
        try:
            images = read(path)
        except UserError as error:
            assert array.ndim == 5 and array.shape[-1] not in (1, 3)
            law.check_sentence(str(error))
            return
    pixels = np.stack([image.frame_THWC for image in images])
    np.testing.assert_array_equal(pixels.reshape(array.shape), array)
