"""Cox regression of the frozen temporal CLS feature: when does the event come?

python probe.py --config=configs/probe_cox.py --checkpoint=runs/x --workdir=runs/x-probe-cox

The cohort names data.columns.event and data.columns.duration. Patients with an event are few, so
that 1 % of the labels rarely leaves the two that are needed.
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "cox"
    c.fractions = (0.1, 0.3, 1.0)
    return c
