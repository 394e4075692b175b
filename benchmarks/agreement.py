"""What an accelerator makes of a training step, against the CPU of the same machine.

    python -m benchmarks.agreement

One step of every method with the same parameters, the same batch and the same draws: on the CPU in
float32, and on the first device with float32 products as exact as they come ("float32"), with
those that JAX takes by itself ("default": TF32 on recent NVIDIA GPUs, bfloat16 passes on TPUs), and
in bfloat16. Printed is how far loss, gradient (its whole length) and BatchNorm statistics lie from
the CPU's, relative to these. "neighbours" is the CPU again with every parameter moved to its
neighbouring number: closer than that float32 cannot tell. Exit code 1 where the float32 gradient is
further off than --limit.
"""

import argparse
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from benchmarks import learners
from tvrl_jax import sharding, step
from tvrl_jax import state as states

FORMS = {  # name -> (precision of matrix products, model.dtype)
    "float32": ("float32", "float32"),
    "default": ("default", "float32"),
    "bfloat16": ("default", "bfloat16"),
    "neighbours": ("float32", "float32"),
}


def learner_of(method: str, dtype: str, args: argparse.Namespace) -> step.Learner:
    config = learners.settings(method, args, {"model.dtype": dtype})
    # Leaves the gradient in the optimiser's state, and moves nothing that matters here.
    return learners.learner_of(config)._replace(tx=optax.trace(decay=0.0))


def neighbour(x: jax.Array) -> jax.Array:
    """Every number moved to its neighbour, upwards and downwards in turn."""
    up = (jnp.arange(x.size) % 2 == 0).reshape(x.shape)
    return jnp.nextafter(x, jnp.where(up, jnp.inf, -jnp.inf).astype(x.dtype))


def stepped(learner: step.Learner, batch: dict, mesh: Mesh, precision: str, change=None):
    """loss, gradient and BatchNorm statistics of one step on the device of a mesh; `change` is made
    to every parameter before it."""
    with jax.default_matmul_precision(precision), jax.set_mesh(mesh):
        state = states.create_sharded(
            learner.network, learner.tx, seed=0, ema=0.0, mesh=mesh, kind="data"
        )
        if change:
            state = state._replace(params=jax.tree.map(change, state.params))
        compiled = jax.jit(functools.partial(step.train_step, learner))
        state, scalars, _ = compiled(state, sharding.put(batch, mesh))
    return jax.device_get((scalars["loss"], state.opt_state.trace, state.extra))


def distance(found, wanted) -> float:
    """Of two trees: the length of their difference, relative to that of the second."""
    found, wanted = (
        np.concatenate([np.zeros(1), *(np.ravel(leaf) for leaf in jax.tree.leaves(tree))])
        for tree in (found, wanted)
    )
    return float(np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-300))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=learners.METHODS, default=learners.METHODS)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=tuple(FORMS))
    learners.add_size(parser, arch="micro", size=64, heads=3, batch_size=32)
    parser.add_argument("--limit", type=float, default=1e-3, help="of a float32 gradient")
    args = parser.parse_args()
    device, cpu = jax.devices()[0], jax.devices("cpu")[0]
    print(f"{args.arch}, {args.frames} frames of {args.size} px, {args.batch_size} series; "
          f"{device.device_kind} against the CPU, jax {jax.__version__}\n")  # fmt: skip
    print("| method | products | loss | gradient | BatchNorm |\n|-|-|-|-|-|")
    gradients = []
    for method in args.methods:
        learner = learner_of(method, "float32", args)
        batch = learners.batch_of(learner.config)
        wanted = stepped(learner, batch, sharding.make_mesh([cpu]), "float32")
        for form in args.forms:
            precision, dtype = FORMS[form]
            learner = learner_of(method, dtype, args)
            place, change = (cpu, neighbour) if form == "neighbours" else (device, None)
            found = stepped(learner, batch, sharding.make_mesh([place]), precision, change)
            off = [distance(*pair) for pair in zip(found, wanted, strict=True)]
            print(f"| {method} | {form} | {' | '.join(f'{one:.1e}' for one in off)} |", flush=True)
            gradients += [off[1]] * (form == "float32")
    if not all(gradient <= args.limit for gradient in gradients):  # NaN is no agreement
        sys.exit(f"a float32 gradient is further off than {args.limit:g}")


if __name__ == "__main__":
    main()
