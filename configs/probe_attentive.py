"""Attention pooling: one learned query looks over the frozen tokens of the frames.

python probe.py --config=configs/probe_attentive.py --checkpoint=runs/x --workdir=runs/x-attentive
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "attentive"
    return c
