"""Ridge and logistic regression of the frozen temporal CLS feature, solved to the optimum.

python probe.py --config=configs/probe_ridge.py --checkpoint=runs/x --workdir=runs/x-probe-ridge
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "ridge"
    return c
