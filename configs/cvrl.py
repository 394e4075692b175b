"""CVRL: two windows of one series should look alike, whatever changed between them.

Qian et al. 2021, arXiv 2008.03800. The gap between the windows has a decreasing density
(`clips.interval`): the further apart, the rarer.

python train.py --config=configs/cvrl.py:phantom_cardiac --workdir=runs/cvrl
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "cvrl"
    c.clips.windows = 2
    c.model.time_embedding = False
    c.model.head_norm = True
    c.objective.temperature = 0.1  # of InfoNCE: cosines are divided by it
    return c
