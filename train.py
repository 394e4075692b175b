"""Pretrains an encoder on a cohort of image time series, without labels.

  python train.py --config=configs/tvrl.py:phantom_cardiac --workdir=runs/x
  python train.py --config=configs/tvrl.py:sunnybrook --config.data.root=DIR --workdir=runs/y
  python train.py --config=configs/cvrl.py:phantom_cardiac --workdir=runs/z --config.optim.lr=1e-3

--config=configs/METHOD.py:COHORT names a learning rule (cvrl, ltn, videomae, csimclr, csimclr_te,
tvrl, causal, supervised) and a cohort preset of configs/cohorts.py. Any key of configs/base.py can
be changed as --config.SECTION.KEY=VALUE. The same command in the same folder continues the run.
"""

from absl import flags
from ml_collections import config_flags

from configs import base
from tvrl_jax import cli

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "configs/METHOD.py:COHORT")
flags.DEFINE_string("workdir", None, "Folder of the run: settings, metrics, checkpoints.")
flags.DEFINE_bool("resume", False, "Continue the run in --workdir although settings differ.")


def main() -> None:
    from tvrl_jax import trainer  # after the flags: --help and mistakes answer at once
    from tvrl_jax.report import html

    folder = trainer.train(FLAGS.config, FLAGS.workdir, resume=FLAGS.resume)
    print(
        f"report: {html.build_report(folder, None, html.Extras(base=base.get_config().to_dict()))}"
    )


if __name__ == "__main__":
    cli.run(main, doc=__doc__, required=("config", "workdir"), template="configs.base")
