"""cSimCLR-TE: cSimCLR with the time of every frame embedded.

Shen et al. 2024, arXiv 2403.07513. Watch the retrieval with blank images: it tells whether the
clock alone solves the comparison (`augment.time_*` weaken it).

python train.py --config=configs/csimclr_te.py:phantom_cardiac --workdir=runs/csimclr_te
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "csimclr_te"
    c.clips.windows = 1
    c.model.time_embedding = True
    c.model.head_norm = True
    c.objective.temperature = 0.1  # of InfoNCE: cosines are divided by it
    return c
