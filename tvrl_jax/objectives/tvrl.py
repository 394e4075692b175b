"""TVRL: contrast of time-aware clips, and prediction of masked frames (Shen et al. 2024,
arXiv 2403.07513).

Some frames of each view are hidden. The clips' CLS, which may not attend to them, are compared;
and from the frames around them the hidden frames' own features are to be predicted. With
`masked_contrast` off the compared CLS see every frame, as in the methods that hide none.

The published code writes the mask token into the tensor that later serves as target. Here the
target is taken before: it depends on the image, and a test says so.
"""

import jax
import jax.numpy as jnp

from tvrl_jax.masking import frame_mask
from tvrl_jax.models.build import Network
from tvrl_jax.objectives import contrastive, latent, views
from tvrl_jax.objectives.outcome import Outcome


def loss(
    network: Network,
    params,
    extra,
    batch,
    key,
    progress,
    *,
    temperature: float,
    mask_ratio: float,
    masked_contrast: bool,
    latent_weight: float,
    start_fraction: float,
    distance: str,
    target_norm: str,
    tile: int = 0,
) -> Outcome:
    """Draws the masks and weighs the two terms by how far the training is."""
    key_mask, key = jax.random.split(key)
    masked_BVT = frame_mask(key_mask, batch["valid_BVT"], ratio=mask_ratio)
    weight = latent.weight_at(progress, start_fraction=start_fraction, latent_weight=latent_weight)
    return outcome(
        network, params, extra, batch, masked_BVT, weight, key, temperature=temperature, tile=tile,
        masked_contrast=masked_contrast, distance=distance, target_norm=target_norm,
    )  # fmt: skip


def outcome(
    network: Network,
    params,
    extra,
    batch,
    masked_BVT,
    weight,
    key,
    *,
    temperature: float,
    masked_contrast: bool,
    distance: str,
    target_norm: str,
    tile: int = 0,
) -> Outcome:
    """The loss for given masks; `key` (dropout) may be None."""
    key_s, key_t = views.keys(key, 2)
    feature_BVTD, extra = views.frame_features(network, params, extra, batch, key_s)
    cls_BVD, prediction_BVTD = hide_and_predict(
        network, params, feature_BVTD, batch, masked_BVT, key_t, masked_contrast=masked_contrast
    )
    contrast = contrastive.compare(
        network, params, extra, cls_BVD, batch, temperature=temperature, tile=tile
    )
    target_BVTD = latent.target_of(feature_BVTD, batch, target_norm=target_norm)
    counted_BVT = masked_BVT & latent.told(batch, target_norm=target_norm)
    term = latent.error(prediction_BVTD, target_BVTD, counted_BVT, distance=distance)
    return latent.combine(contrast, term, weight)


def hide_and_predict(
    network: Network, params, feature_BVTD, batch, masked_BVT, key, *, masked_contrast: bool
):
    """-> (cls_BVD, prediction_BVTD of every frame). The CLS is blind to the masked frames, unless
    `masked_contrast` is off.

    Positions and times are added once, after masking: only the frames' content is hidden, not
    when they were taken. The two attention masks are two rows of a batch (P below), not two calls.
    """
    hidden_BVTD = jnp.where(masked_BVT[..., None], network.mask_token(params), feature_BVTD)
    x_BVTD = views.embed_time(network, params, hidden_BVTD, batch["time_BVT"])
    valid_BVT = batch["valid_BVT"]
    whole_BVTD, seen_BVT = x_BVTD, valid_BVT & ~masked_BVT
    if not masked_contrast:
        whole_BVTD = views.embed_time(network, params, feature_BVTD, batch["time_BVT"])
        seen_BVT = valid_BVT
    x_BVPTD = jnp.stack([whole_BVTD, x_BVTD], axis=2)
    seen_BVPT = jnp.stack([seen_BVT, valid_BVT], axis=2)
    cls_BVPD, token_BVPTD = views.temporal(network, params, x_BVPTD, seen_BVPT, key)
    return cls_BVPD[:, :, 0], network.predict(params, token_BVPTD[:, :, 1])
