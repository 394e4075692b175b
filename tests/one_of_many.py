"""Two steps of every objective, for whatever devices and processes there are: what came out.

    python tests/one_of_many.py FOLDER OUT [--wide] [--nudged] [--series=] [--coordinator= ...]

Writes OUT.PROCESS_ID.npz: of each objective and step the loss, the metrics, the gradients, the
statistics, and this process's rows as they were read and as they were augmented.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
import pico
import tiny
from absl import flags

from benchmarks.agreement import neighbour
from configs import causal, csimclr, csimclr_te, cvrl, ltn, supervised, tvrl, videomae
from tvrl_jax import distributed, sharding, step
from tvrl_jax import state as states
from tvrl_jax.checkpoint.whole import named
from tvrl_jax.data import opening
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.learner import find_objective, make_learner

METHODS = (cvrl, ltn, videomae, csimclr, csimclr_te, tvrl, causal, supervised)
DRAWN = (cvrl, videomae, tvrl)  # two windows, one view, two views: the others draw as these do
NORMED = (tvrl, supervised)  # the stem by BatchNorm; linear patches compile sooner
STEPS = 2
sharding.MIN_SHARDED_SIZE = 2**8  # no array of pico has 2**14 numbers: all would stay whole


def configure(method, root: Path, series: int):
    """The method, pico; TVRL's and the causal rule's second term counts from the start.

    series: so many a batch, of one step, and heads without BatchNorm, as TVRL's is published. Over
    a few rows, and in heads, it amplifies what the last bits of features differ by.
    """
    config = tiny.shrink(method.get_config(), root)
    config.update_from_flattened_dict(
        {
            "train.sharding": "full" if method is tvrl else "data",
            "model.arch": pico.ARCH,
            "model.temporal_heads": 2,
            "model.dropout": 0.1,
        }
    )
    if series:
        config.update_from_flattened_dict({"train.batch_size": series, "model.head_norm": False})
    if method not in NORMED:
        config.model.update(stem="patch", patch_size=8)
    if "start_fraction" in config.objective:
        config.objective.start_fraction = 0.0
    return config


# Gradient descent that keeps its gradients: Adam would make noise of those that are 0.
DESCENT = optax.chain(optax.trace(0.0), optax.scale(-1e-3))


def steps_of(method, root: Path, mesh, peers, change=None, series: int = 0):
    """(name, array) of all that is to be compared, as far as this process has it; `change` is made
    to every parameter before the first step."""
    config = configure(method, root, series)
    store = peers.first(lambda: opening.open_cohort(config.data))
    learner = make_learner(config, find_objective(config), store)._replace(tx=DESCENT)
    state = states.create_sharded(
        learner.network, DESCENT, seed=0, ema=0.0, mesh=mesh, kind=config.train.sharding
    )
    state = jax.jit(_widened, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, state))(state)
    if change:
        spread = jax.tree.map(lambda leaf: leaf.sharding, state.params)
        params = jax.jit(partial(jax.tree.map, change), out_shardings=spread)(state.params)
        state = state._replace(params=params)
    if config.train.sharding == "full" and mesh.size > 1:
        assert sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)) > 20
    batches = train_batches(
        store, split="train", clips=config.clips, views=learner.objective.views,
        batch_size=config.train.batch_size, seed=0, start_step=0,
        process_index=jax.process_index(), process_count=jax.process_count(),
        threads=1, workers=0, targets=store.targets(),
    )  # fmt: skip
    train = jax.jit(partial(step.train_step, learner), out_shardings=_shardings(state, mesh))
    draw = jax.jit(partial(step.draw_views, learner))
    gather = jax.jit(lambda tree: tree, out_shardings=sharding.replicated(mesh))
    for number in range(1 if series else STEPS):
        rows = next(batches)
        batch = sharding.put(_widened(rows), mesh)
        mine = {"rows": rows}
        if method in DRAWN and not series:
            mine["drawn"] = jax.tree.map(_local, draw(batch, np.int32(number)))
        state, logged, _ = train(state, batch)
        whole = gather({"grads": state.opt_state[0].trace, "extra": state.extra, "logged": logged})
        for key, leaf in named(mine) + named(jax.tree.map(np.asarray, whole)):
            kind, _, rest = key.partition("/")
            yield f"{kind}/{config.method}/{number}/{rest}", leaf
    batches.close()


def _widened(tree):
    """float32 -> float64 where that is on."""
    wide = jax.dtypes.canonicalize_dtype("float64")
    return jax.tree.map(lambda x: x.astype(wide) if x.dtype == "float32" else x, tree)


def _shardings(state: states.State, mesh):
    spread = jax.tree.map(lambda leaf: leaf.sharding, state)
    return spread, sharding.replicated(mesh), sharding.over_batch(mesh)


def _local(array: jax.Array) -> np.ndarray:
    """This process's rows."""
    shards = {
        shard.index[0].start or 0: np.asarray(shard.data) for shard in array.addressable_shards
    }
    return np.concatenate([shards[start] for start in sorted(shards)])


def main() -> None:
    flags.DEFINE_string("coordinator", None, "")
    flags.DEFINE_integer("num_processes", None, "")
    flags.DEFINE_integer("process_id", None, "")
    flags.DEFINE_bool("wide", False, "In float64, in which many devices differ by no rounding.")
    flags.DEFINE_bool("nudged", False, "With parameters that differ in their last bit.")
    flags.DEFINE_integer("series", 0, "So many a batch of one step, and heads without BatchNorm.")
    given = flags.FLAGS
    _, folder, out = given(sys.argv)
    jax.config.update("jax_enable_x64", given.wide)
    place = distributed.Place(given.coordinator, given.num_processes, given.process_id)
    with distributed.started(place, start=300, timeout=300) as peers:
        mesh = sharding.make_mesh()
        sharding.connect(mesh)
        with jax.set_mesh(mesh):
            change = neighbour if given.nudged else None
            found = {
                name: array
                for method in METHODS
                for name, array in steps_of(method, Path(folder), mesh, peers, change, given.series)
            }
        np.savez(f"{out}.{peers.index}.npz", **found)


if __name__ == "__main__":
    main()
