"""Pretrains every method on one cohort with one budget, probes each, and writes one table.

  python -m tvrl_jax.compare --config=configs/compare.py:phantom_cardiac
  python -m tvrl_jax.compare --config=configs/compare.py:phantom_retina --workdir=runs/x
  python -m tvrl_jax.compare --config=configs/compare.py:sunnybrook --config.shared.data.root=DIR \\
    --config.shared.data.targets="('COLUMN:regression',)"

--config=configs/compare.py:COHORT names a cohort preset of configs/cohorts.py. Any key of
configs/base.py is set for every method as --config.shared.SECTION.KEY=VALUE. The same command in
the same folder runs what is not done yet; a cell that fails does not stop the others. Writes
results.csv, table.md and report.html into --workdir. Exit status 1: a cell failed.
"""

import functools
import importlib
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from tvrl_jax.command import cli, shell
from tvrl_jax.errors import UserError

FLAGS = flags.FLAGS
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# No kinds, or kinds that tell no pretraining from another: the first two of these predict nothing
# that could be compared, and the last learns from labels alone.
NO_PROBE = ("base", "demo", "temporal", "export", "supervised")


def define_flags() -> None:
    config_flags.DEFINE_config_file("config", None, "configs/compare.py:COHORT")
    flags.DEFINE_string("workdir", None, "Folder of the comparison (runs/compare_COHORT).")
    flags.DEFINE_integer("jobs", 1, "Cells at once, where one leaves a device idle.", lower_bound=1)
    flags.DEFINE_bool("resume", False, "Go on in --workdir although settings differ.")


def main() -> None:
    from tvrl_jax.comparison import comparer  # after the flags: --help and mistakes answer at once

    failed = comparer.compare(
        FLAGS.config,
        FLAGS.workdir or f"runs/compare_{FLAGS.config.cohort}",
        presets=presets(),
        command=f"python -m tvrl_jax.compare {shell.join(sys.argv[1:])}",
        resume=FLAGS.resume,
        jobs=FLAGS.jobs,
    )
    if failed:
        sys.exit(1)


def presets():
    """The methods and probes of configs/."""
    from tvrl_jax.comparison.plan import Presets
    from tvrl_jax.objectives import OBJECTIVES

    probes = sorted(path.stem.removeprefix("probe_") for path in CONFIGS.glob("probe_*.py"))
    return Presets(
        methods=tuple(OBJECTIVES),
        method=lambda name, cohort: _module(name).get_config(cohort),
        probes=[name for name in probes if name not in NO_PROBE],
        probe=lambda kind: _module(f"probe_{kind}").get_config(),
    )


@functools.cache
def _module(name: str):
    try:
        return importlib.import_module(f"configs.{name}")
    except ModuleNotFoundError as error:
        raise UserError(f"there is no configs/{name}.py.") from error


if __name__ == "__main__":
    define_flags()
    cli.run(main, doc=__doc__, required=("config",), template="configs.compare")
