"""Latent time navigation (Yang et al. 2023, arXiv 2305.06437).

CVRL's two windows, but the first one's feature is moved along learned directions by the time that
lies between them, so that what time changes need not be forgotten to make the views agree.
"""

import jax.numpy as jnp

from tvrl_jax.models.build import Network
from tvrl_jax.objectives import contrastive, views
from tvrl_jax.objectives.outcome import Outcome


def loss(
    network: Network, params, extra, batch, key, progress, *, temperature: float, tile: int = 0
) -> Outcome:
    """InfoNCE after view 1 was shifted by |dt|; view 0 stays.

    dt is the time in the series between the windows' anchors (data/clips.py): their first frames,
    as published, or with sampling "newest" their newest. For windows of one length these are as
    far apart. But two windows that end at different visits may both reach back to the first one,
    and two that start at different frames of a short cine may both end with its last; and relative
    to their window all start at 0, which made the published dt always 0 on cine.
    """
    key_s, key_t = views.keys(key, 2)
    feature_BVTD, extra = views.frame_features(network, params, extra, batch, key_s)
    cls_BVD = contrastive.summarise(network, params, feature_BVTD, batch, key_t)
    dt_B = jnp.abs(batch["anchor_BV"][:, 1] - batch["anchor_BV"][:, 0])
    shifted_BD = network.shift(params, cls_BVD[:, 1], dt_B)
    cls_BVD = jnp.stack([cls_BVD[:, 0], shifted_BD], axis=1)
    return contrastive.compare(
        network, params, extra, cls_BVD, batch, temperature=temperature, tile=tile
    )
