"""Causal: compare clips whose times are known, and predict each next frame from those before.

The causal variant of Shen et al. 2024, arXiv 2403.07513: no frame is hidden.

python train.py --config=configs/causal.py:phantom_cardiac --workdir=runs/causal
"""

from ml_collections import ConfigDict

from configs import base, cohorts


def get_config(cohort: str = "own") -> ConfigDict:
    c = cohorts.apply(base.get_config(), cohort)
    c.method = "causal"
    c.clips.windows = 1
    c.model.time_embedding = True
    c.model.head_norm = True  # published without; see tvrl.py
    c.objective.temperature = 0.1  # of InfoNCE: cosines are divided by it
    c.objective.latent_weight = 0.5  # w of (1 - w) contrastive + w latent, once it is on
    c.objective.start_fraction = 0.5  # of the training, before which w is 0
    c.objective.distance = "cosine"  # of prediction and target: cosine or smooth_l1
    # Of the target: none, layer (each feature vector; right for smooth_l1), batch (each feature
    # over the batch's frames: nothing that all frames share) or clip (the same, of what differs
    # from the clip's mean: nothing that the frames of a clip share).
    c.objective.target_norm = "none"
    return c
