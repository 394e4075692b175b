"""A step for a slice of TPU chips or for machines of GPUs, where their compiler is installed."""

import argparse
from collections import Counter

import jax
import numpy as np
import pico
import pytest
import tiny

from benchmarks import learners, pod, program
from configs import cvrl, tvrl
from tvrl_jax.data import opening
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.learner import find_objective

COMPILERS = {"v5e:2x4": "libtpu", "h200:2x4": "jax_cuda13_plugin"}  # slice -> module
ROWS = 8  # series a chip


@pytest.mark.parametrize("method", [tvrl, cvrl], ids=["one window", "two windows"])
def test_the_shapes_of_a_batch_are_those_of_the_pipeline(method, root):
    config = tiny.shrink(method.get_config(), root)
    batches = train_batches(
        opening.open_cohort(config.data), split="train", clips=config.clips,
        views=find_objective(config).views, batch_size=config.train.batch_size, seed=0,
        start_step=0, process_index=0, process_count=1, threads=1, workers=0,
    )  # fmt: skip
    made = {name: (array.shape, array.dtype) for name, array in next(batches).items()}
    batches.close()
    shapes = learners.batch_shapes(config)
    assert made == {name: (one.shape, np.dtype(one.dtype)) for name, one in shapes.items()}


@pytest.fixture(scope="module", params=COMPILERS)
def chips(request):
    module = COMPILERS[request.param]
    pytest.importorskip(module, reason=f"needs {module}: benchmarks/pod.py says how")
    return pod.mesh_of(request.param)


def configured(method, mesh, **changes):
    how = dict(
        size=32, arch=pico.ARCH, heads=2, rows=ROWS, dtype="float32", remat="none",
        micro_batches=1, sharding="data",
    )  # fmt: skip
    return pod.config_of(method, argparse.Namespace(**how | changes), mesh.size)


def compiled(method, mesh, **changes) -> pod.Compiled:
    return pod.compiled(configured(method, mesh, **changes), mesh)


def numbers(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("csimclr", {}),
        ("tvrl", {"dtype": "bfloat16"}),
        ("ltn", {"dtype": "bfloat16", "micro_batches": 2}),
    ],
)
def test_neither_pictures_nor_narrow_gradients_cross(method, changes, chips):
    """Gathered are embeddings alone: a frame's pixels are 32 times as many as their numbers."""
    found = compiled(method, chips, **changes)
    crossed = Counter()
    for one in found.moved:
        crossed[one.kind] += one.size
    embeddings = 2 * ROWS * chips.size * 128
    assert sum(crossed.values()) - crossed["all-reduce"] <= 4 * embeddings, crossed
    # Each gradient once; those of the convolutions once for each of the two views.
    init = learners.learner_of(configured(method, chips, **changes)).network.init
    params, extra = jax.eval_shape(init, jax.random.key(0))
    stem = params["encoder"]["spatial"]["vit"]["patches"]
    gradients, rest = numbers(params), numbers(stem) + 8 * numbers(extra)
    assert gradients <= crossed["all-reduce"] <= gradients + rest + 4 * embeddings, crossed
    assert "bf16" not in {one.dtype for one in found.moved}
    assert bool(found.cycles) == (chips.devices.flat[0].platform == "tpu")  # it alone reckons


def test_what_a_collective_is_given_does_not_count():
    """Lines as the GPU compiler writes them, shortened."""
    text = """
  %all-gather-start = ((f32[16,128]{1,0}, pred[16]{0}), (f32[128,128]{1,0}, pred[128]{0})) \
all-gather-start(%bitcast, %slice), channel_id=3
  %all-gather-done = (f32[128,128]{1,0}, pred[128]{0}) all-gather-done(%all-gather-start)
  %all-reduce = (f32[24]{0}, s32[]) all-reduce(%add, %sum), channel_id=4
"""
    found = program.collectives(text)
    assert [one.kind for one in found] == 2 * ["all-gather"] + 2 * ["all-reduce"]
    assert [one.shape for one in found] == [(128, 128), (128,), (24,), ()]
    assert program.bytes_by_kind(found) == {"all-gather": 4 * 128**2 + 128, "all-reduce": 4 * 25}


def test_spread_parameters_need_less_memory_of_a_chip(chips):
    whole, spread = (
        compiled("csimclr", chips, arch="micro", heads=3, sharding=kind)
        for kind in ("data", "full")
    )
    assert spread.arguments < 0.5 * whole.arguments
    assert program.bytes_by_kind(spread.moved)["all-gather"] > 0
