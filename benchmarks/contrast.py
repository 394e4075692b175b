"""Time and memory of InfoNCE and its gradient: by tiles, by the matrix, and as published.

python -m benchmarks.contrast

Each case runs in a process of its own, on one device. Memory is what the process came to hold at
most (Linux: VmHWM) above what it held with the embeddings in place and the program compiled. The
published form subtracts nothing but multiplies a [2B, 2B, D] broadcast and sums over D, operation
by operation; XLA would fuse that into a loop, so it is run without compiling. What would need more
memory than --gib, or more CPU time than --minutes, is not run: its memory is then that of the
compiled program's plan, or of the one product, and its CPU time is calculated from the largest
batch of its form that was run, as B^2. --full lifts the limit of time. On a busy machine compare
CPU seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from configs import base
from tvrl_jax import losses

WIDTH, TEMPERATURE, GIB = 128, 0.1, 2**30
FORMS = ("tiled", "matrix", "broadcast")


def mean_loss(z_BVE, tile: int):
    valid_B = jnp.ones(len(z_BVE), bool)
    each = losses.contrast_views(z_BVE, valid_B, temperature=TEMPERATURE, tile=tile)
    return jnp.mean(each.loss), (jnp.sum(each.closer), jnp.sum(each.tied))


def published_loss(z_BVE):
    """The same mean, by cosines of [2B, 1, D] and [1, 2B, D]."""
    x_NE = jnp.concatenate([z_BVE[:, 0], z_BVE[:, 1]])
    x_NE = x_NE / jnp.linalg.norm(x_NE, axis=1, keepdims=True)
    cosine_NN = jnp.sum(x_NE[:, None, :] * x_NE[None, :, :], axis=-1)
    rows = jnp.arange(len(x_NE))
    logit_NN = jnp.where(rows[:, None] == rows, -9e15, cosine_NN / TEMPERATURE)
    positive_N = logit_NN[rows, jnp.roll(rows, len(z_BVE))]
    return jnp.mean(jax.nn.logsumexp(logit_NN, axis=1) - positive_N), jnp.argsort(-logit_NN)


def program(form: str, batch: int, tile: int):
    """-> (callable, bytes it will need beside its input, None where that cannot be told)."""
    if form == "broadcast":
        with_gradient = jax.value_and_grad(published_loss, has_aux=True)
        return with_gradient, None
    side = tile if form == "tiled" else 0
    step = jax.jit(jax.value_and_grad(lambda z: mean_loss(z, side), has_aux=True))
    compiled = step.lower(jax.ShapeDtypeStruct((batch, 2, WIDTH), jnp.float32)).compile()
    plan = compiled.memory_analysis()
    return compiled, plan.temp_size_in_bytes + plan.output_size_in_bytes


def status(key: str) -> int:
    """A line of this process's memory statistics, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def measure(form: str, batch: int, tile: int, repeats: int) -> dict:
    """Runs one case in this process."""
    z_BVE = jax.block_until_ready(jax.random.normal(jax.random.key(0), (batch, 2, WIDTH)))
    run, _ = program(form, batch, tile)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    seconds, cpu, loss = [], [], None
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        (loss, _), _ = jax.block_until_ready(run(z_BVE))
        seconds.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return dict(
        loss=float(loss),
        seconds=statistics.median(seconds),
        cpu=statistics.median(cpu),
        runs=repeats,
        bytes=status("VmHWM") - before,
    )


def needed(form: str, batch: int, tile: int) -> int:
    if form == "broadcast":
        return (2 * batch) ** 2 * WIDTH * 4  # the product alone
    return program(form, batch, tile)[1]


def in_a_process(form: str, batch: int, tile: int, repeats: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.contrast", "--case", form]
    command += ["--batch", str(batch), "--tile", str(tile), "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{form} with B = {batch} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def row(form: str, batch: int, args, last: tuple[int, dict] | None) -> tuple[str, dict | None]:
    """A line of the table, and the measurement if there was one; `last`: of this form, with B."""
    need = needed(form, batch, args.tile)
    scaled = last[1]["cpu"] * (batch / last[0]) ** 2 if last else 0.0
    guess = f"{scaled:,.0f} (calculated)" if last else ""
    if need > args.gib * GIB:
        return f"| {batch:,} | {form} | | {guess} | needs {size(need)} | not run | |", None
    if scaled > args.minutes * 60 and not args.full:
        return f"| {batch:,} | {form} | | {guess} | {size(need)} | not run | |", None
    repeats = args.repeats if scaled < 10 else 1
    found = in_a_process(form, batch, args.tile, repeats)
    return (
        f"| {batch:,} | {form} | {found['seconds']:.3g} | {found['cpu']:.3g} | {size(need)} | "
        f"{size(found['bytes'])} | {found['loss']:.6f} |",
        found,
    )


def size(count: float) -> str:
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / 2**20:,.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[512, 2048, 8192, 32768, 131072])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--tile", type=int, default=base.get_config().train.contrast_tile)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gib", type=float, default=6.0, help="memory that a case may take")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU time that a case may take")
    parser.add_argument("--full", action="store_true", help="run what takes longer, too")
    parser.add_argument("--case", choices=FORMS, help="run one case here and print JSON")
    parser.add_argument("--batch", type=int, default=512, help="of --case")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args.case, args.batch, args.tile, args.repeats)))
        return
    print("| B | form | seconds | CPU seconds | memory planned | memory measured | loss |")
    print("|---|---|---|---|---|---|---|")
    last = {}
    for batch in args.batches:
        for form in args.forms:
            line, found = row(form, batch, args, last.get(form))
            print(line, flush=True)
            if found:
                last[form] = batch, found


if __name__ == "__main__":
    main()
