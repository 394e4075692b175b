"""Cosine nearest neighbours of the frozen temporal CLS feature.

python probe.py --config=configs/probe_knn.py --checkpoint=runs/x --workdir=runs/x-probe-knn
"""

from configs import probe_base


def get_config():
    c = probe_base.get_config()
    c.kind = "knn"
    return c
