"""The published protocol: a new temporal CLS token learns with the head through frozen blocks.

python probe.py --config=configs/probe_cls.py --checkpoint=runs/x --workdir=runs/x-probe-cls
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "cls"
    return c
