"""Time of a training step of every method, on all devices of this machine.

    python -m benchmarks.steps --batch_size=128 --dtype=bfloat16

Random clips that lie on the device already, of the size that `configs/base.py` presets; reading
them is `benchmarks.pipeline`. "temp" is what the compiled step needs besides its state and batch,
as the compiler states it. Operations are counted in the program before it is optimised, and what
is computed twice to save memory counts twice. A round is --steps steps, one after another as
in training; the time is the median of the rounds, divided by their steps.
"""

import argparse
import functools
import statistics
import time
from typing import NamedTuple

import jax

from benchmarks import learners
from tvrl_jax import sharding, step
from tvrl_jax import state as states
from tvrl_jax.objectives import OBJECTIVES

HEAD = ("method", "compiling, s", "temp, GB", "step, ms", "(fastest to slowest)", "clips/s")


class Measured(NamedTuple):
    compiling: float  # seconds
    temp: int  # bytes
    operations: float  # of a step
    seconds: list[float]  # of a step, one for each round


def measure(method: str, args: argparse.Namespace) -> Measured:
    how = ("model.dtype", "model.remat", "train.micro_batches")
    changes = {key: getattr(args, key.rpartition(".")[2]) for key in how}
    learner = learners.learner_of(learners.settings(method, args, changes))
    mesh = sharding.make_mesh()
    with jax.set_mesh(mesh):
        state = states.create_sharded(
            learner.network, learner.tx, seed=0, ema=0.0, mesh=mesh, kind="data"
        )
        batch = sharding.put(learners.batch_of(learner.config), mesh)
        start = time.perf_counter()
        jitted = jax.jit(functools.partial(step.train_step, learner), donate_argnums=0)
        compiled = jitted.lower(state, batch).compile()
        compiling = time.perf_counter() - start
        seconds = []
        for _ in range(args.rounds + 1):
            start = time.perf_counter()
            for _ in range(args.steps):
                state, scalars, _ = compiled(state, batch)
            jax.block_until_ready((state, scalars))
            seconds.append((time.perf_counter() - start) / args.steps)
    temp = compiled.memory_analysis().temp_size_in_bytes
    # The first round, in which memory is reserved, does not count.
    return Measured(compiling, temp, operations(learner), seconds[1:])


def operations(learner) -> float:
    """Floating-point operations of a step, by the program for a CPU, which alone counts them."""
    with jax.set_mesh(sharding.make_mesh(jax.devices("cpu")[:1])):
        fresh = functools.partial(states.create, learner.network, learner.tx, seed=0, ema=0.0)
        arguments = jax.eval_shape(fresh), learners.batch_shapes(learner.config)
        lowered = jax.jit(functools.partial(step.train_step, learner)).lower(*arguments)
    return lowered.cost_analysis()["flops"]


def line(method: str, clips: int, found: Measured) -> str:
    median = statistics.median(found.seconds)
    low, high = (1e3 * pick(found.seconds) for pick in (min, max))
    cells = (
        *(method, f"{found.compiling:.0f}", f"{found.temp / 1e9:.2f}", f"{1e3 * median:.1f}"),
        *(f"{low:.1f} to {high:.1f}", f"{clips / median:,.0f}"),
        f"{found.operations / median / 1e12:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=learners.METHODS, default=learners.METHODS)
    learners.add_size(parser, arch="small", size=128, heads=6, batch_size=128)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--remat", default="none", help="model.remat")
    parser.add_argument("--micro_batches", type=int, default=1, help="train.micro_batches")
    parser.add_argument("--steps", type=int, default=5, help="of a round")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    device = jax.devices()[0]
    print(f"{args.arch}, {args.frames} frames of {args.size} px, {args.batch_size} series a step, "
          f"{args.dtype}, remat {args.remat}, {args.micro_batches} micro-batches; "
          f"{jax.device_count()} x {device.device_kind}, jax {jax.__version__}\n")  # fmt: skip
    print(f"| {' | '.join((*HEAD, 'TFLOP/s'))} |\n|{'-|' * (len(HEAD) + 1)}")
    for method in args.methods:
        clips = args.batch_size * OBJECTIVES[method].views
        print(line(method, clips, measure(method, args)), flush=True)


if __name__ == "__main__":
    main()
