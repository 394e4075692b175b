"""The demo's probe: linear, on all of the labels.

python probe.py --config=configs/probe_demo.py --checkpoint=runs/demo --workdir=runs/demo
"""

from configs import probe_linear


def get_config():
    c = probe_linear.get_config()
    c.fractions = (1.0,)
    return c
