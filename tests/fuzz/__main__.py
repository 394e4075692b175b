"""Runs many damaged inputs and prints how many of each kind were read, refused, or did harm.

python -m tests.fuzz --inputs=12000
python -m tests.fuzz --target=npz --seed=0 --only=17        one of them again, in this process
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tvrl_jax.errors import UserError

from . import forks
from .targets import TARGETS, shares


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=12_000, help="in all")
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of one input; needs --target")
    parser.add_argument("--keep", default="runs/fuzz", help="folder for inputs that did harm")
    given = parser.parse_args()
    if given.only is not None and given.target is None:
        parser.error("--only needs --target")
    if given.only is not None:
        return again(given.target, given.seed, given.only)
    chosen = [given.target] if given.target else None
    counts = []
    for name, inputs in shares(given.inputs, chosen).items():
        counts.append(forks.run(TARGETS[name], given.seed, range(inputs), Path(given.keep)))
        print(counts[-1], flush=True)
    failures = [failure for count in counts for failure in count.failures]
    print(f"{'in all':<18} {sum(c.inputs for c in counts):>6} inputs, {len(failures)} failures")
    for failure in failures:
        print(failure)
    return bool(failures)


def again(name: str, seed: int, number: int) -> int:
    """Without a fork, so that a debugger may look; prints what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name]
        made = target.make(forks.random(target, seed, number), Path(folder))
        print(made)
        try:
            print(target.use(made))
        except UserError as error:
            print(f"refused: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
