"""The architecture of a checkpoint, trained on the labels from fresh parameters.

python probe.py --config=configs/probe_supervised.py --checkpoint=runs/x --workdir=runs/x-supervised
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "supervised"
    c.baselines = ("constant",)  # it is an untrained encoder itself
    c.seeds = 1  # each trains a whole network, for every task and fraction; published: 5
    c.finetune.learning_rates = (3e-4,)
    return c
