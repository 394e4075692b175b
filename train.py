"""Pretrains an encoder on a cohort of image time series, without labels.

  python train.py --config=configs/tvrl.py:phantom_cardiac --workdir=runs/x
  python train.py --config=configs/tvrl.py:sunnybrook --config.data.root=DIR --workdir=runs/y
  python train.py --config=configs/cvrl.py:phantom_cardiac --workdir=runs/z --config.optim.lr=1e-3

--config=configs/METHOD.py:COHORT names a learning rule (cvrl, ltn, videomae, csimclr, csimclr_te,
tvrl, causal, supervised) and a cohort preset of configs/cohorts.py. Any key of configs/base.py can
be changed as --config.SECTION.KEY=VALUE. The same command in the same folder continues the run.

Several processes, each with its own number, are one run; a cluster's scheduler says so by itself
(docs/scaling.md):

  python train.py --config=configs/tvrl.py:phantom_cardiac --workdir=runs/x \\
    --coordinator=HOST:PORT --num_processes=2 --process_id=0
"""

from absl import flags
from ml_collections import config_flags

from configs import base
from tvrl_jax.command import cli

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "configs/METHOD.py:COHORT")
flags.DEFINE_string("workdir", None, "Folder of the run: settings, metrics, checkpoints.")
flags.DEFINE_bool("resume", False, "Continue the run in --workdir although settings differ.")
flags.DEFINE_string("coordinator", None, "HOST:PORT on the machine of process 0; for all alike.")
flags.DEFINE_integer("num_processes", None, "How many processes the run has.")
flags.DEFINE_integer("process_id", None, "Which of them this one is, from 0.")


def main() -> None:
    from tvrl_jax import distributed, trainer  # after the flags: mistakes answer at once

    place = distributed.Place(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    with distributed.started(place, **FLAGS.config.distributed) as peers:
        folder = trainer.train(FLAGS.config, FLAGS.workdir, resume=FLAGS.resume, peers=peers)
        if peers.index == 0:  # before they part: from then on none misses another
            _report(folder)


def _report(folder) -> None:
    from tvrl_jax.report import ending

    ending.tell(folder, folder, base.get_config().to_dict())


if __name__ == "__main__":
    cli.run(main, doc=__doc__, required=("config", "workdir"), template="configs.base")
