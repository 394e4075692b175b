"""cSimCLR: two augmentations of the same window of a series should look alike.

SimCLR (Chen et al. 2020, arXiv 2002.05709) on clips, each augmented as a whole.

python train.py --config=configs/csimclr.py:phantom_cardiac --workdir=runs/csimclr
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "csimclr"
    c.clips.windows = 1
    c.model.time_embedding = False
    c.model.head_norm = True
    c.objective.temperature = 0.1  # of InfoNCE: cosines are divided by it
    return c
