"""Linear probe of the frozen temporal CLS feature.

python probe.py --config=configs/probe_linear.py --checkpoint=runs/x --workdir=runs/x-probe
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "linear"
    return c
