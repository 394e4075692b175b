"""What the compiler for TPUs or for GPUs makes of a training step, on a machine that has neither.

    python -m pip install --no-deps --target runs/libtpu 'libtpu==0.0.42.*'
    PYTHONPATH=runs/libtpu python -m benchmarks.pod --topology v5e:4x4

    python -m pip install --target runs/cuda 'jax[cuda13]==0.11.2'
    PYTHONPATH=runs/cuda python -m benchmarks.pod --topology h200:4x8

(That libtpu goes with jax 0.10.2; of another jax, `importlib.metadata.requires("jax")` names it.
For GPUs it is the version of the environment's own jax. In a folder of its own neither is found by
runs that should use the CPU.) Of every method a step is compiled for a slice of TPU chips, or for
so many machines of so many H200, and the program read: memory of a chip beside the state ("temp")
and with it, bytes that cross the chips, and the cycles that the TPU compiler reckons for a chip.
Nothing runs, so these are no times; but a step that cannot be compiled, does not fit, or sends
pictures about is seen before a pod is paid for.
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
# The GPU compiler need not find the driver's libraries of a machine that has no GPU.
WITHOUT_GPU = {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "CUDA_VISIBLE_DEVICES": "-1"}
# What XLA asks of a device that it compiles for (`stream_executor.GpuTargetConfigProto`): the
# vendor's figures of an H200, as XLA's own description of it has them.
H200 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H200"
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  device_memory_size: 151397597184 memory_bandwidth: 4800000000000 l2_cache_size: 52428800
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_core: 233472 shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  runtime_version: "13.0.0" driver_version: "13.0.0" dnn_version: "9.10.0"
}
dnn_version_info { major: 9 minor: 10 }
"""


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
    """The chips of a slice such as v5e:4x4, or h200:4x8 for 4 machines of 8 GPUs.

    They are ordered as `sharding.make_mesh` orders those that exist. Raises ImportError without the
    compiler, RuntimeError for a slice that it does not know.
    """
    from jax.experimental import topologies

    kind, _, shape = topology.partition(":")
    if kind == "h200":
        import jax_cuda13_plugin  # noqa: F401  JAX's own complaint does not say what is missing

        _set(WITHOUT_GPU)
        asked = dict(platform="cuda", target_config=H200, topology=f"1x{shape}")
    else:
        import libtpu  # noqa: F401

        _set(ABSENT)
        asked = dict(platform="tpu", topology_name=topology)
    return sharding.make_mesh(topologies.get_topology_desc(**asked).devices)


def _set(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)


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
    parser.add_argument("--topology", default="v5e:4x4", help="chips, or h200:MACHINESxGPUS")
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
        parser.error(f"--topology={args.topology}: {error}; the docstring says how to have it")
    print(f"{mesh.size} x {mesh.devices.flat[0].device_kind}, {args.arch}, {args.size} px, "
          f"{args.dtype}, {args.rows} series a chip, jax {jax.__version__}\n")  # fmt: skip
    print(f"| {' | '.join(HEAD)} |\n{'|-' * len(HEAD)}|")
    for method in args.methods.split(","):
        print(row(method, compiled(config_of(method, args, mesh.size), mesh)), flush=True)


if __name__ == "__main__":
    main()
