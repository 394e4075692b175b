"""Between devices travel gradients, statistics and embeddings; never a picture or an activation."""

import math
import re
from collections import Counter
from functools import partial
from typing import NamedTuple

import jax
import pytest
import tiny

from configs import causal, csimclr, csimclr_te, cvrl, ltn, supervised, tvrl, videomae
from tvrl_jax import sharding, step
from tvrl_jax import state as states
from tvrl_jax.data import opening
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.learner import find_objective, make_learner

METHODS = (cvrl, ltn, videomae, csimclr, csimclr_te, tvrl, causal, supervised)
BATCH, WIDTH, FLOAT = 32, 128, 4
# What is compared crosses the devices this often, forward and backward, of size B x 128 floats.
EMBEDDINGS = 16
SMALL = 64  # floats of a collective that is a sum of scalars: losses, metrics, counts
COLLECTIVE = re.compile(
    r"= (?P<type>\(.*?\)|\S+) "
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\("
)
ARRAY = re.compile(r"(?P<dtype>[a-z]+)(?P<bits>\d*)\[(?P<shape>[\d,]*)\]")


class Moved(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    bytes: int


def collectives(program: str) -> list[Moved]:
    """Every array that a collective of a compiled program yields."""
    found = []
    for match in COLLECTIVE.finditer(program):
        for array in ARRAY.finditer(match["type"]):
            shape = tuple(int(n) for n in array["shape"].split(",") if n)
            width = max(int(array["bits"] or 8) // 8, 1)
            found.append(Moved(match[2], shape, math.prod(shape) * width))
    return found


def test_collectives_are_found_in_a_program():
    program = """
  %a = f32[8,128]{1,0} all-gather(%x), channel_id=1
  ROOT %b = (f32[3]{0}, s32[]) all-reduce(%y, %z), to_apply=%sum
  %c = pred[4]{0} collective-permute-start(%w)
  %d = f32[9]{0} add(%all-gather, %all-reduce)
"""
    assert collectives(program) == [
        Moved("all-gather", (8, 128), 4096),
        Moved("all-reduce", (3,), 12),
        Moved("all-reduce", (), 4),
        Moved("collective-permute", (4,), 4),
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(folder)
    return folder


def _compiled(method, root, kind: str, **changes):
    """The text of a method's train step for eight devices, and the shapes of its state."""
    config = tiny.shrink(method.get_config(), root)
    config.update_from_flattened_dict(
        {"train.batch_size": BATCH, "model.head_width": WIDTH, "train.sharding": kind, **changes}
    )
    store = opening.open_cohort(config.data)
    learner = make_learner(config, find_objective(config), store)
    mesh = sharding.make_mesh()
    state = states.create_sharded(
        learner.network, learner.tx, seed=0, ema=0.0, mesh=mesh, kind=kind
    )
    rows = next(
        train_batches(
            store, split="train", clips=config.clips, views=learner.objective.views,
            batch_size=BATCH, seed=0, start_step=0, process_index=0, process_count=1,
            threads=1, workers=0,
            targets=opening.target_values(store, config.data.targets),
        )
    )  # fmt: skip
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    made = jax.jit(partial(step.train_step, learner), out_shardings=(shardings, None, None))
    with jax.set_mesh(mesh):
        return made.lower(state, sharding.put(rows, mesh)).compile().as_text(), state


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__.rpartition(".")[2])
def test_only_gradients_statistics_and_embeddings_cross_devices(root, method):
    text, state = _compiled(method, root, "data")
    moved = collectives(text)
    assert moved, "eight devices that exchange nothing do not learn together"
    # Each view's share of a gradient is summed on its own, some as a matrix of another shape.
    views = find_objective(method.get_config()).views
    gradients = Counter(views * [leaf.size for leaf in jax.tree.leaves(state.params)])
    statistics = Counter(leaf.size for leaf in jax.tree.leaves(state.extra))
    rest = []
    for one in moved:
        known = next((c for c in (gradients, statistics) if c[math.prod(one.shape)] > 0), None)
        if known is None:
            rest.append(one)
        elif known is gradients:
            known[math.prod(one.shape)] -= 1
    embeddings = [one for one in rest if math.prod(one.shape) > SMALL]
    bound = EMBEDDINGS * BATCH * WIDTH * FLOAT
    assert sum(one.bytes for one in embeddings) <= bound, embeddings
    # And no single one is as large as the smallest thing that may not travel: a layer's tokens.
    for one in embeddings:
        assert one.bytes <= 2 * BATCH * WIDTH * FLOAT, one
