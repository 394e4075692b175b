"""Latent time navigation: as CVRL, but time may move a feature along learned directions.

Yang et al. 2023, arXiv 2305.06437. View 1 is moved by the time between the two windows before it
is compared with view 0, so that what changes with time need not be forgotten.

python train.py --config=configs/ltn.py:phantom_cardiac --workdir=runs/ltn
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "ltn"
    c.clips.windows = 2
    c.model.time_embedding = False  # the time between the windows enters in the shift alone
    c.model.head_norm = True
    c.objective.temperature = 0.1  # of InfoNCE: cosines are divided by it
    return c
