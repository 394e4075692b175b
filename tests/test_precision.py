"""In bfloat16, everything that is summed is summed in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pico import batch_of, learner_of, start

from tvrl_jax import sharding, step
from tvrl_jax.models import layers, strided, vit
from tvrl_jax.models.product import product
from tvrl_jax.objectives import OBJECTIVES


def reductions(jaxpr):
    """(name of the operation, type of its operand) of every sum, extreme and scan over an axis."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name.startswith(("reduce_", "cum")) and name != "reduce_precision":
            yield name, equation.invars[0].aval.dtype
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(inner):
                yield from reductions(getattr(inner, "jaxpr", inner))


def _is_program(value) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize(("method", "pieces"), [*((m, 1) for m in OBJECTIVES), ("tvrl", 2)])
def test_no_sum_of_a_step_is_in_bfloat16(method, pieces, devices):
    """Statistics, softmax, losses and metrics, and the gradients of biases and positions; on many
    devices views are mapped side by side, and each has its part in those gradients."""
    mesh = sharding.make_mesh() if devices > 1 else jax.make_mesh((1,), (sharding.AXIS,))
    learner = learner_of(method, **{"model.dtype": "bfloat16", "train.micro_batches": pieces})
    state, batch = start(method), batch_of(method, 8)

    def scalar(params):
        outcome = step._outcome(learner, params, state, batch)
        return outcome.loss, outcome

    with jax.set_mesh(mesh):
        assert sharding.is_spread() == (devices > 1)
        program = jax.make_jaxpr(jax.grad(scalar, has_aux=True))(state.params)
    found = set(reductions(program.jaxpr))
    assert ("reduce_sum", np.dtype("float32")) in found
    assert not [name for name, dtype in found if dtype == jnp.bfloat16]
    assert {leaf.dtype for leaf in program.out_avals} == {np.dtype("float32")}
    assert "bf16" in str(program)


def test_a_sum_in_bfloat16_would_be_found():
    program = jax.make_jaxpr(jax.vmap(jnp.sum))(jnp.ones((2, 3)))
    assert set(reductions(program.jaxpr)) == {("reduce_sum", np.dtype("float32"))}
    summed = jax.grad(
        lambda bias: (jnp.ones((4, 3), jnp.bfloat16) + bias).sum().astype(jnp.float32)
    )
    program = jax.make_jaxpr(summed)(jnp.ones(3, jnp.bfloat16))
    assert ("reduce_sum", np.dtype(jnp.bfloat16)) in set(reductions(program.jaxpr))


@pytest.mark.parametrize("convolve", [strided.conv, strided.conv_by_matmul])
def test_a_kernels_gradient_is_not_rounded_before_devices_add_theirs(convolve):
    """257 ones, which bfloat16 takes for 256."""
    ones = jnp.ones((257, 2, 2, 1), jnp.bfloat16)

    def of_products(kernel):
        return product(ones[:, 0, 0], kernel).sum(dtype=jnp.float32)

    def of_middle(kernel):
        return convolve(ones, kernel).sum(dtype=jnp.float32)

    assert jax.grad(of_products)(jnp.ones((1, 1)))[0, 0] == 257
    assert jax.grad(of_middle)(jnp.ones((3, 3, 1, 1)))[1, 1] == 257
    assert float(jnp.bfloat16(257)) == 256


def test_a_product_has_the_gradients_of_its_rows_and_of_its_weights():
    """Of views that are mapped together they are summed, and of rows apart they stay apart."""
    rng = np.random.default_rng(0)
    x_VNI = jnp.asarray(rng.normal(size=(2, 5, 3)), jnp.bfloat16)
    kernel = jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)

    def loss(multiply, kernel, x):
        return (multiply(x, kernel).astype(jnp.float32) ** 2).sum()

    def plain(x, kernel):  # in float32, of what bfloat16 holds
        return x.astype(jnp.float32) @ kernel.astype(x.dtype).astype(jnp.float32)

    def of_views(multiply, axis):
        rows = jnp.moveaxis(x_VNI, 0, axis)
        mapped = jax.vmap(multiply, (axis, None))
        return jax.grad(functools.partial(loss, mapped), (0, 1))(kernel, rows)

    def of_rows(multiply):
        each = jax.grad(functools.partial(loss, multiply), (0, 1))
        return jax.vmap(each, (None, 0))(kernel, x_VNI.reshape(-1, 1, 3))

    for way in (functools.partial(of_views, axis=axis) for axis in (0, 1, 2)):
        _nearly(way(product), way(plain))
    _nearly(of_rows(product), of_rows(plain))
    assert of_rows(product)[0].shape == (10, 3, 4) and of_rows(product)[0].dtype == jnp.float32
    # Else each view's would cross the devices: there is none of the two views beside each other.
    program = str(jax.make_jaxpr(lambda: of_views(product, axis=0))())
    assert "f32[3,4]" in program and "f32[2,3,4]" not in program
    with pytest.raises(NotImplementedError, match="cannot be mapped over"):
        jax.vmap(product, (None, 0))(x_VNI[0], jnp.stack([kernel, kernel]))


def _nearly(got, wanted):
    for ours, theirs in zip(got, wanted, strict=True):
        theirs = np.asarray(theirs, np.float32)
        assert np.abs(np.asarray(ours, np.float32) - theirs).max() < 0.02 * np.abs(theirs).max()


@pytest.mark.parametrize("views", [None, 1, 257])
def test_a_parameters_gradient_is_summed_in_float32(views):
    """4,096 rows, and 257 views of them, which bfloat16 takes for 256."""
    rows, bias = 4096, jnp.zeros(3)
    x = jnp.ones((rows, 3), jnp.bfloat16)

    def total(bias, x=x):
        return (x + layers.spread(bias, x)).sum(dtype=jnp.float32)

    if views is None:
        np.testing.assert_array_equal(jax.grad(total)(bias), rows)
        return
    x_VN = jnp.ones((views, 2, 3), jnp.bfloat16)
    mapped = jax.grad(lambda bias: jax.vmap(functools.partial(total, bias))(x_VN).sum())
    np.testing.assert_array_equal(mapped(bias), 2 * views)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 3), (4, 1)])
@pytest.mark.parametrize("views", [0, 1, 2])
def test_a_parameter_is_spread_as_numpy_broadcasts_it(shape, views):
    """Value and both gradients, of rows, of mapped views of them, and of views of views."""
    rng = np.random.default_rng(0)
    parameter = jnp.asarray(rng.normal(size=shape), jnp.float32)
    x = jnp.asarray(rng.normal(size=(2, 2, 5, 4, 3)[2 - views :]), jnp.float32)

    def loss(spread, parameter, x):
        return ((spread(parameter, x) + x) ** 3).sum()

    def plain(parameter, x):
        return jnp.broadcast_to(parameter, x.shape)

    def mapped(spread):
        function = functools.partial(loss, spread)
        for _ in range(views):
            function = jax.vmap(function, (None, 0))
        return jax.value_and_grad(lambda *given: function(*given).sum(), (0, 1))(parameter, x)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4),
        mapped(layers.spread),
        mapped(plain),
    )


def test_parameters_of_their_own_are_spread_over_what_is_shared():
    parameter_VD, x = jnp.arange(6.0).reshape(2, 3), jnp.ones((5, 3), jnp.bfloat16)
    made = jax.vmap(layers.spread, (0, None))(parameter_VD, x)
    assert made.dtype == jnp.bfloat16 and made.shape == (2, 5, 3)
    np.testing.assert_array_equal(made[:, 4].astype(jnp.float32), parameter_VD)


def test_statistics_of_bfloat16_numbers_are_taken_in_float32():
    """Far from zero, the mean of squares less the square of the mean would be noise."""
    x = jnp.asarray(256 + 2 * np.random.default_rng(0).integers(0, 4, (64, 48)), jnp.bfloat16)
    wide = np.asarray(x, np.float64)
    for module, axis in (
        (layers.layer_norm("norm", jnp.bfloat16), 1),
        (functools.partial(layers.BatchNorm(jnp.bfloat16), train=True), 0),
    ):
        call = getattr(module, "func", module)
        settings = getattr(module, "keywords", {})
        variables = call.init(jax.random.key(0), x, **settings)
        out, _ = call.apply(variables, x, mutable=True, **settings)
        expected = (wide - wide.mean(axis, keepdims=True)) / wide.std(axis, keepdims=True)
        assert out.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.asarray(out, np.float64), expected, atol=0.02)
    weight = vit.attention(*(x[None, :, None, :] * 0.1 for _ in range(2)))
    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight.sum(-1), 1, rtol=1e-5)
