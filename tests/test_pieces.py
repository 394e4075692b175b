"""A batch computed in pieces gives the loss, gradients and statistics of the undivided batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity import precision
from pico import FRAMES, batch_of, learner_of, start

from tvrl_jax import sharding, step
from tvrl_jax import state as states
from tvrl_jax.data.packing import Packing, capacity, places
from tvrl_jax.errors import UserError
from tvrl_jax.models import moments, pieces
from tvrl_jax.objectives import OBJECTIVES

ROWS = 16
DROPOUT = "model.dropout"
MICRO = {"train.batchnorm": "micro"}


def pack(batch, groups, parts):
    packing = Packing(groups * parts, 4, parts)
    length = capacity(batch["valid_BVT"], packing)
    return batch | {"packed_GVC": places(batch["valid_BVT"], packing.groups, length, parts)}


def outcome(method, count, batch, state=None, **changes):
    """(gradients, (loss, metrics, BatchNorm statistics, embeddings)) of a batch in pieces."""
    learner = learner_of(method, **{"train.micro_batches": count, **changes})

    @jax.jit
    def program(state, batch):
        def scalar(params):
            found = step._outcome(learner, params, state, batch)
            return found.loss, tuple(found)

        return jax.grad(scalar, has_aux=True)(state.params)

    return program(start(method) if state is None else state, batch)


def assert_equal(one, other, relative):
    """Gradients to within a fraction of their norm, all else to within one of its largest value."""
    (grads, found), (grads_other, found_other) = one, other
    norm = optax.tree.norm(grads_other)
    assert norm > 1e-3
    for (path, a), b in zip(
        jax.tree.leaves_with_path(grads), jax.tree.leaves(grads_other), strict=True
    ):
        assert np.abs(a - b).max() <= relative * norm, jax.tree_util.keystr(path)
    assert jax.tree.structure(found) == jax.tree.structure(found_other)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(found_other), strict=True):
        assert np.abs(a - b).max(initial=0) <= relative * np.abs(b).max(initial=0.1)


@functools.cache
def whole(method, dropout=0.0):
    return outcome(method, 1, batch_of(method, ROWS), **{DROPOUT: dropout})


@pytest.mark.parametrize("method", tuple(OBJECTIVES))
def test_four_pieces_are_the_whole_batch(method):
    assert_equal(outcome(method, 4, batch_of(method, ROWS)), whole(method), 1e-5)


def test_two_pieces_are_the_whole_batch_to_the_last_digits_of_float64():
    """With targets of the averaged encoder, which works in pieces too."""
    with precision("float64") as dtype:
        wide = functools.partial(
            jax.tree.map, lambda x: x.astype(dtype) if x.dtype == "float32" else x
        )
        state, batch = wide(start("tvrl")), wide(batch_of("tvrl", 8))
        averaged = {"train.ema": 0.9, "train.ema_target": True}
        one, two = (outcome("tvrl", count, batch, state, **averaged) for count in (1, 2))
        assert two[1][0].dtype == "float64"
        assert_equal(two, one, 1e-7)  # sines of the time embedding are float32


def test_pieces_on_eight_devices_are_the_whole_batch_on_one():
    batch, mesh = batch_of("tvrl", ROWS), sharding.make_mesh()
    assert mesh.size == 8
    state = jax.device_put(start("tvrl"), sharding.replicated(mesh))
    with jax.set_mesh(mesh):
        spread = sharding.put(pack(batch, 8, 2), mesh)
        eight = outcome("tvrl", 2, spread, state, **{DROPOUT: 0.3})
    assert_equal(eight, whole("tvrl", 0.3), 1e-5)


def test_a_piece_may_be_normalised_by_its_own_statistics():
    """The first layer's are pooled to those of the whole batch; deeper ones see other inputs."""
    (_, own), (_, exact) = outcome("tvrl", 4, batch_of("tvrl", ROWS), **MICRO), whole("tvrl")
    path = ("encoder", "spatial", "vit", "patches")
    own_stem, exact_stem = (functools.reduce(dict.get, path, found[2]) for found in (own, exact))
    for name in ("mean", "var"):
        np.testing.assert_allclose(own_stem["norm0"][name], exact_stem["norm0"][name], rtol=1e-5)
        assert np.abs(own_stem["norm2"][name] - exact_stem["norm2"][name]).max() > 1e-5
    assert abs(own[0] - exact[0]) > 1e-5


def test_moments_of_parts_are_pooled_to_those_of_all():
    rng = np.random.default_rng(0)
    x = jnp.asarray(1000 + rng.normal(size=(12, 5, 3)), jnp.float32)
    counted = np.arange(12) % 5 != 0
    counted[3::4] = False  # of one part, nothing counts
    for chosen in (counted, np.zeros(12, bool), None):
        parts = pieces.each(lambda rows, _: moments.of(*rows), 4, (x, chosen))
        for found, expected in zip(moments.pooled(parts), moments.of(x, chosen), strict=True):
            # A mean of 1000 is known to 3e-5; a mean of squares would be to no better than 0.06.
            np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_row_i_is_in_piece_i_modulo_their_number():
    rows = {"a": np.arange(12), "b": None}
    np.testing.assert_array_equal(
        pieces.apart(rows, 4)["a"], [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    )
    np.testing.assert_array_equal(pieces.joined(pieces.apart(rows, 4))["a"], rows["a"])


def test_packing_lists_the_frames_of_each_devices_share_of_a_piece():
    valid = np.random.default_rng(0).random((16, 2, FRAMES)) < 0.5
    packed = places(valid, 4, 2 * 4 * FRAMES, pieces=2)  # two devices
    for piece, rows in enumerate(np.moveaxis(valid.reshape(8, 2, 2, FRAMES), 1, 0)):
        for device in (0, 1):
            share = rows[4 * device : 4 * device + 4]
            for view in (0, 1):
                listed = packed[2 * device + piece, view]
                expected = np.flatnonzero(share[:, view])
                np.testing.assert_array_equal(listed[listed >= 0], expected)


def test_what_a_row_draws_depends_neither_on_pieces_nor_on_what_it_is_computed_beside():
    batch, undivided = batch_of("tvrl", ROWS), whole("tvrl", 0.3)
    assert abs(undivided[1][0] - whole("tvrl")[1][0]) > 1e-4
    for groups, count in ((1, 1), (2, 1), (2, 2)):  # as on one device, on two, and in pieces
        packed = pack(batch, groups, count)
        assert_equal(outcome("tvrl", count, packed, **{DROPOUT: 0.3}), undivided, 1e-5)


def test_memory_for_activations_falls_with_the_pieces():
    """Bytes that the compiled step needs besides its arguments and results."""

    def needed(count):
        learner = learner_of("supervised", **{"train.micro_batches": count, "model.image_size": 32})
        fresh = functools.partial(states.create, learner.network, learner.tx, seed=0, ema=0.0)
        program = jax.jit(functools.partial(step.train_step, learner))
        compiled = program.lower(jax.eval_shape(fresh), batch_of("supervised", 64)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert needed(8) < needed(2) / 2.5


@pytest.mark.parametrize(("rows", "hint"), [(24, "use 16 or 32"), (8, "use 16")])
def test_a_batch_that_does_not_divide_into_pieces_is_refused(rows, hint):
    assert jax.device_count() == 8
    with pytest.raises(
        UserError, match=f"batch_size = {rows} .* 8 devices x 2 micro-batches: {hint}"
    ):
        sharding.check_batch_size(rows, 2)
    sharding.check_batch_size(32, 2)
