"""TVRL: compare clips whose times are known, and predict their hidden frames from the others.

Shen et al. 2024, arXiv 2403.07513, as its text describes it: the target of a hidden frame is that
frame's own feature, taken before it is hidden.

python train.py --config=configs/tvrl.py:phantom_cardiac --workdir=runs/tvrl
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "tvrl"
    c.clips.windows = 1
    c.model.time_embedding = True
    # Published without. A trial without it (nor a conv stem, nor standardised input) stayed at a
    # loss of log(2B - 1), which is chance, for 400 steps; with the three it learned.
    c.model.head_norm = True
    c.objective.temperature = 0.1  # of InfoNCE: cosines are divided by it
    c.objective.mask_ratio = 0.15  # probability of each valid frame to be hidden
    # True: the compared clips lack the hidden frames, too, as published. False: they lack nothing.
    c.objective.masked_contrast = True
    c.objective.latent_weight = 0.5  # w of (1 - w) contrastive + w latent, once it is on
    c.objective.start_fraction = 0.5  # of the training, before which w is 0
    c.objective.distance = "cosine"  # of prediction and target: cosine or smooth_l1
    # Of the target: none, layer (each feature vector; right for smooth_l1), batch (each feature
    # over the batch's frames: nothing that all frames share) or clip (the same, of what differs
    # from the clip's mean: nothing that the frames of a clip share).
    c.objective.target_norm = "none"
    return c
