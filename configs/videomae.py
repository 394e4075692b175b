"""VideoMAE: remove nine tenths of a clip's patches and reconstruct them from the rest.

Tong et al. 2022, arXiv 2203.12602. One transformer over all patches of a clip; it is given no
times. Only resizing and a flip: what is to be reconstructed should be a real image.

python train.py --config=configs/videomae.py:phantom_cardiac --workdir=runs/videomae
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "videomae"
    c.clips.windows = 1
    # There is no second view that the number of visits could give away.
    c.clips.drop = c.clips.drop_spread = 0.0
    c.augment.update(rotation=0.0, crop=(1.0, 1.0), vflip=0.0)
    c.augment.update(jitter_probability=0.0, blur_probability=0.0)
    c.model.stem = "patch"
    c.model.time_embedding = False
    c.objective.mask_ratio = 0.9  # of a clip's tubelet tokens, padding aside
    c.objective.masking = "random"  # random, or tube: the same places at all times
    return c
