"""Measures what a pretrained encoder knows, with labels of a cohort and patient-level intervals.

  python probe.py --config=configs/probe_linear.py --checkpoint=runs/x --workdir=runs/x-probe
  python probe.py --config=configs/probe_knn.py --checkpoint=runs/x --workdir=runs/x-probe
  python probe.py --config=configs/probe_finetune.py --checkpoint=runs/x --workdir=runs/x-tuned

Kinds: linear, ridge, attentive, cls (the published protocol), knn, cox and hazard (time to an
event), temporal (does it know time?), finetune, supervised (from fresh parameters). And export,
which writes the features of every series as a table and as arrays instead.
Model, clips and cohort come from the checkpoint; --config.data.* names another cohort. Writes
results.csv, report.html and every prediction into --workdir and prints a table. Another probe of
the same kind and test patients is compared with, patient by patient:

  python probe.py --config=configs/probe_linear.py --checkpoint=runs/x --workdir=runs/x-probe \\
    --config.against="('runs/y-probe',)"
"""

import os

from absl import flags
from ml_collections import config_flags

from configs import base
from tvrl_jax.command import cli

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "configs/probe_KIND.py")
flags.DEFINE_string("checkpoint", None, "Folder of the pretraining run.")
flags.DEFINE_string(
    "step", "newest", "Which checkpoint of it: newest, best (newest if unrated) or a number."
)
flags.DEFINE_string("workdir", None, "Folder for results.csv and report.html.")
flags.DEFINE_bool("resume", False, "Go on in --workdir although settings differ.")


def main() -> None:
    from tvrl_jax import distributed, prober  # after the flags: --help and mistakes answer at once

    distributed.refuse_several(os.environ, "probe.py")
    prober.probe(
        FLAGS.config,
        FLAGS.checkpoint,
        FLAGS.workdir,
        step=FLAGS.step,
        resume=FLAGS.resume,
        base=base.get_config(),
    )


if __name__ == "__main__":
    cli.run(
        main,
        doc=__doc__,
        required=("config", "checkpoint", "workdir"),
        template="configs.probe_base",
    )
