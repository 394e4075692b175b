"""What the TPU compiler makes of a training step, on a machine without a TPU.

    python -m pip install --no-deps --target runs/libtpu 'libtpu==0.0.42.*'
    PYTHONPATH=runs/libtpu python -m benchmarks.pod --topology v5e:4x4

(That libtpu goes with jax 0.10.2; of another jax, `importlib.metadata.requires("jax")` names it. In
a folder of its own it is not found by runs that should use the CPU.) Of every method a step is
compiled for a slice of chips, and the program read: memory of a chip beside the state ("temp") and
with it, bytes that cross the chips, and the cycles that the compiler reckons for a chip. Nothing
runs, so these are no times; but a step that cannot be compiled, does not fit, or sends pictures
about is seen before a pod is paid for.
"""

import argparse
import functools
import importlib
import os
import time
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from benchmarks import learners, program
from tvrl_jax import sharding, step
from tvrl_jax import state as states

# What libtpu would ask the machine of a pod, and that it may be loaded by several processes.
ABSENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


HEAD = (
    *("method", "compiling, s", "temp, GB", "with the state, GB"),
    *("all-reduce, MB", "all-gather, MB", "other, MB", "cycles, millions"),
)


class Compiled(NamedTuple):
    """A step for one chip of a slice."""

    seconds: float  # of compiling
    arguments: int  # bytes: state and batch
    temp: int  # bytes besides
    moved: list[program.Moved]
    cycles: int


def mesh_of(topology: str) -> Mesh:
    """The chips of a slice such as v5e:4x4, as `sharding.make_mesh` orders those that exist.

    Raises ImportError without libtpu, RuntimeError for a slice that it does not know.
    """
    import libtpu  # noqa: F401  JAX's own complaint does not say what is missing
    from jax.experimental import topologies

    for name, value in ABSENT.items():
        os.environ.setdefault(name, value)
    found = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    return sharding.make_mesh(found.devices)


def compiled(config: ConfigDict, mesh: Mesh) -> Compiled:
    """The training step of a configuration for the devices of a mesh, which need not exist."""
    learner = learners.learner_of(config)
    fresh = functools.partial(
        states.create, learner.network, learner.tx, seed=config.seed, ema=config.train.ema
    )
    state = jax.eval_shape(fresh)
    shardings = sharding.state_shardings(mesh, state, config.train.sharding)
    rows = sharding.over_batch(mesh)
    batch = {n: _placed(shape, rows) for n, shape in learners.batch_shapes(config).items()}
    made = jax.jit(
        functools.partial(step.train_step, learner),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh), rows),
    )
    begin = time.perf_counter()
    with jax.set_mesh(mesh):
        done = made.lower(jax.tree.map(_placed, state, shardings), batch).compile()
    text, memory = done.as_text(), done.memory_analysis()
    return Compiled(
        time.perf_counter() - begin,
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        program.collectives(text),
        program.cycles(text),
    )


def _placed(shape: jax.ShapeDtypeStruct, where) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=where)


def config_of(method: str, args: argparse.Namespace, chips: int) -> ConfigDict:
    config = importlib.import_module(f"configs.{method}").get_config()
    config.update_from_flattened_dict(
        {
            "data.image_size": args.size,
            "model.arch": args.arch,
            "model.image_size": args.size,
            "model.temporal_heads": args.heads,
            "model.dtype": args.dtype,
            "model.remat": args.remat,
            "train.batch_size": args.rows * chips,
            "train.micro_batches": args.micro_batches,
            "train.sharding": args.sharding,
        }
    )
    return config


def row(method: str, one: Compiled) -> str:
    crossed = program.bytes_by_kind(one.moved)
    cells = [method, f"{one.seconds:.0f}", f"{one.temp / 1e9:.2f}"]
    cells.append(f"{(one.arguments + one.temp) / 1e9:.2f}")
    cells += [f"{crossed[kind] / 1e6:.1f}" for kind in ("all-reduce", "all-gather")]
    cells.append(f"{(crossed.total() - crossed['all-reduce'] - crossed['all-gather']) / 1e6:.1f}")
    return f"| {' | '.join([*cells, f'{one.cycles / 1e6:.0f}'])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", default="v5e:4x4", help="slice of chips")
    parser.add_argument("--methods", default=",".join(learners.METHODS))
    parser.add_argument("--arch", default="small")
    parser.add_argument("--heads", type=int, default=6, help="of the temporal attention")
    parser.add_argument("--size", type=int, default=128, help="side of the frames, pixels")
    parser.add_argument("--rows", type=int, default=8, help="series a chip and step")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--remat", default="none")
    parser.add_argument("--micro_batches", type=int, default=1)
    parser.add_argument("--sharding", default="data")
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")  # there is no TPU to be found
    try:
        mesh = mesh_of(args.topology)
    except (ImportError, RuntimeError) as error:
        parser.error(f"--topology={args.topology}: {error}; the docstring says how to have libtpu")
    print(f"{mesh.size} x {mesh.devices.flat[0].device_kind}, {args.arch}, {args.size} px, "
          f"{args.dtype}, {args.rows} series a chip, jax {jax.__version__}\n")  # fmt: skip
    print(f"| {' | '.join(HEAD)} |\n{'|-' * len(HEAD)}|")
    for method in args.methods.split(","):
        print(row(method, compiled(config_of(method, args, mesh.size), mesh)), flush=True)


if __name__ == "__main__":
    main()
