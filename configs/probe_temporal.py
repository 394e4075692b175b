"""Does the encoder know time, and does it live on shortcuts? Measures, pictures and alarms.

python probe.py --config=configs/probe_temporal.py --checkpoint=runs/x --workdir=runs/x-probe

Order and times of the frames are changed, elapsed time and shortcuts are read, cosines and
similarity over time are drawn. data.targets may be empty; those given are read from intact and
from changed windows. One fit with all labels each, so fractions, seeds and restarts have no say.
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "temporal"
    c.baselines = ("untrained",)
    return c
