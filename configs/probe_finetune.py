"""The whole pretrained network, trained on the labels: one network per task, fraction and seed.

python probe.py --config=configs/probe_finetune.py --checkpoint=runs/x --workdir=runs/x-finetune
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "finetune"
    c.baselines = ("constant",)
    c.seeds = 1  # each trains the whole network, for every task and fraction; published: 5
    return c
