"""Discrete-time hazards from the frozen temporal CLS feature: when does the event come?

python probe.py --config=configs/probe_hazard.py --checkpoint=runs/x --workdir=runs/x-probe-hazard

As probe_cox.py, but the hazards of two patients need not be proportional.
"""

from configs import probe_cox


def get_config():
    c = probe_cox.get_config()
    c.kind = "hazard"
    return c
