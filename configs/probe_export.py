"""Features of every series as a table and as arrays; no label is read, nothing is fitted.

python probe.py --config=configs/probe_export.py --checkpoint=runs/x --workdir=runs/x-features
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "export"
    c.baselines = ()
    return c
