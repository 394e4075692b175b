"""Contrastive learning of whole clips: CVRL, cSimCLR and cSimCLR-TE.

One rule for all three. They differ in what their configurations ask for: CVRL (Qian et al. 2021,
arXiv 2008.03800) compares two windows of a series, cSimCLR two augmentations of one window, and
cSimCLR-TE also embeds the time of each frame.
"""

import jax
import jax.numpy as jnp

from tvrl_jax import metrics
from tvrl_jax.losses import contrast_views, masked_mean
from tvrl_jax.models.build import Network
from tvrl_jax.objectives import views
from tvrl_jax.objectives.outcome import Outcome
from tvrl_jax.sharding import over_devices


def loss(
    network: Network, params, extra, batch, key, progress, *, temperature: float, tile: int = 0
) -> Outcome:
    """InfoNCE between the two views' CLS, over the global batch."""
    key_s, key_t = views.keys(key, 2)
    feature_BVTD, extra = views.frame_features(network, params, extra, batch, key_s)
    cls_BVD = summarise(network, params, feature_BVTD, batch, key_t)
    return compare(network, params, extra, cls_BVD, batch, temperature=temperature, tile=tile)


def summarise(network: Network, params, feature_BVTD, batch, key) -> jax.Array:
    """The temporal CLS of each view, which sees all its valid frames: [B, V, D]."""
    x_BVTD = views.embed_time(network, params, feature_BVTD, batch["time_BVT"])
    return views.temporal(network, params, x_BVTD, batch["valid_BVT"], key)[0]


def compare(
    network: Network, params, extra, cls_BVD, batch, *, temperature: float, tile: int
) -> Outcome:
    """Projects both views and compares them.

    With more than `tile` embeddings the logits are computed tile by tile; 0 = all at once.
    """
    valid_B = views.counted(batch)

    def project(extra, cls_BD, _):
        return network.project(params, extra, cls_BD, valid_B, train=True)

    embedding_BVE, extra = views.each(project, extra, cls_BVD)
    each = contrast_views(
        embedding_BVE, valid_B, temperature=temperature, tile=tile, spread=over_devices
    )
    valid_BV = jnp.broadcast_to(valid_B[:, None], each.loss.shape)
    value = masked_mean(each.loss, valid_BV)
    first_BE, second_BE = embedding_BVE[:, 0], embedding_BVE[:, 1]
    logged = {
        "loss_contrastive": value,
        **metrics.retrieval(each, valid_BV),
        "intra_cosine": metrics.intra_cosine(first_BE, second_BE, valid_B),
        "inter_cosine": metrics.inter_cosine(first_BE, second_BE, batch["subject_B"], valid_B),
    }
    return Outcome(value, logged, extra, embedding_BVE)
