"""Supervised: learn `data.targets` from the start, without pretraining.

Series without a label take no part in that target's loss. Mild augmentation, as in probing.

python train.py --config=configs/supervised.py:phantom_cardiac --workdir=runs/supervised
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "supervised"
    c.clips.windows = 1
    c.augment.update(rotation=0.0, crop=(0.9, 1.0), hflip=0.3, vflip=0.0)
    c.augment.update(brightness=0.2, contrast=0.2, blur_probability=0.0)
    # A clock, or all visits, give no label away: what hides them from views is of no use here.
    c.augment.update(time_shift=0.0, time_scale=0.0, time_jitter=0.0, interval_scale=0.0)
    c.clips.drop = c.clips.drop_spread = 0.0
    c.model.time_embedding = True
    # Filled in when the cohort is opened: per target, from the training split alone.
    c.objective.classes = ()  # 0 = a regression, else the number of classes
    c.objective.centre = ()  # a regression target learns (value - centre) / scale
    c.objective.scale = ()  # see centre
    return c
