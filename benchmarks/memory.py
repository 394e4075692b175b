"""What micro-batches, recomputation and bfloat16 cost and save: memory and time of a training step.

    python -m benchmarks.memory

TVRL on random clips. "temp" is what the compiled step needs besides its arguments and results, as
the compiler states it. Times are of steps taken in turn, form after form, round after round, so
that a busy machine slows all of them; "time" is the median of the rounds' ratios to the first form.
"""

import argparse
import functools
import statistics
import time
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from benchmarks import learners
from tvrl_jax import sharding, step
from tvrl_jax import state as states


class Form(NamedTuple):
    pieces: int
    batchnorm: str
    remat: str
    dtype: str


def forms(args: argparse.Namespace) -> list[Form]:
    plain = Form(1, "exact", "none", args.dtype)
    most = max(args.pieces)
    other = [plain._replace(dtype="bfloat16")] if args.bfloat16 else []
    return [
        plain,
        *(plain._replace(pieces=k) for k in args.pieces),
        plain._replace(pieces=most, batchnorm="micro"),
        *(plain._replace(remat=name) for name in ("dots", "weights", "blocks")),
        plain._replace(pieces=most, remat="blocks"),
        *(half._replace(pieces=k) for half in other for k in (1, most)),
    ]


def settings(args: argparse.Namespace, form: Form) -> ConfigDict:
    changes = {
        "model.remat": form.remat,
        "model.dtype": form.dtype,
        "train.micro_batches": form.pieces,
        "train.batchnorm": form.batchnorm,
    }
    return learners.settings("tvrl", args, changes)


class Program:
    """The compiled step of one form, and the state that it moves."""

    def __init__(self, args, form: Form, batch, mesh) -> None:
        learner = learners.learner_of(settings(args, form))
        self._state = states.create_sharded(
            learner.network, learner.tx, seed=0, ema=0.0, mesh=mesh, kind="data"
        )
        self._batch = sharding.put(batch, mesh)
        jitted = jax.jit(functools.partial(step.train_step, learner), donate_argnums=0)
        # Machine code that is not run need not be good; what it needs is decided before.
        careless = not args.rounds and jax.default_backend() == "cpu"
        options = {"xla_backend_optimization_level": 0} if careless else {}
        self._step = jitted.lower(self._state, self._batch).compile(options)
        self.temp = self._step.memory_analysis().temp_size_in_bytes

    def seconds(self) -> float:
        start = time.perf_counter()
        self._state, scalars, _ = self._step(self._state, self._batch)
        jax.block_until_ready((self._state, scalars))
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    learners.add_size(parser, arch="tiny", size=96, heads=3, batch_size=32)
    parser.add_argument("--rounds", type=int, default=3, help="of a step each; 0 = memory alone")
    parser.add_argument("--pieces", type=int, nargs="+", default=[2, 4, 8], help="micro-batches")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--bfloat16", action="store_true", help="also in bfloat16 (slow on a CPU)")
    args = parser.parse_args()
    mesh = sharding.make_mesh()
    batch = learners.batch_of(settings(args, forms(args)[0]))
    machine = f"{mesh.size} x {jax.devices()[0].device_kind}, jax {jax.__version__}"
    print(f"TVRL, {args.arch}, {args.frames} frames of {args.size} px, {args.batch_size} series a "
          f"step, two views; {machine}\n")  # fmt: skip
    print("| micro-batches | BatchNorm | remat | dtype | temp, MB | |\n|-|-|-|-|-|-|")
    programs = {}
    with jax.set_mesh(mesh):
        for form in forms(args):
            programs[form] = Program(args, form, batch, mesh)
            report_memory(form, programs)
        # The first round, in which memory is reserved, does not count.
        count = args.rounds + 1 if args.rounds else 0
        taken = [[p.seconds() for p in programs.values()] for _ in range(count)]
    if taken:
        report_time(programs, taken[1:])


def report_memory(form: Form, programs: dict[Form, Program]) -> None:
    first, temp = next(iter(programs.values())).temp, programs[form].temp
    ratio = temp / first
    print(f"| {' | '.join(map(str, form))} | {temp / 1e6:.0f} | x {ratio:.2f} |", flush=True)


def report_time(programs: dict[Form, Program], rounds: list[list[float]]) -> None:
    print("\n| micro-batches | BatchNorm | remat | dtype | step, s | |\n|-|-|-|-|-|-|")
    for i, form in enumerate(programs):
        seconds = statistics.median(taken[i] for taken in rounds)
        ratio = statistics.median(taken[i] / taken[0] for taken in rounds)
        print(f"| {' | '.join(map(str, form))} | {seconds:.2f} | x {ratio:.2f} |")


if __name__ == "__main__":
    main()
