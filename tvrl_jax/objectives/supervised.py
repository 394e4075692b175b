"""Learning from labels: regression and classification of any number of targets at once."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from tvrl_jax.errors import UserError
from tvrl_jax.losses import cross_entropy, masked_mean, squared_error
from tvrl_jax.models.build import Network
from tvrl_jax.objectives import contrastive, views
from tvrl_jax.objectives.outcome import Outcome


def loss(
    network: Network,
    params,
    extra,
    batch,
    key,
    progress,
    *,
    classes: tuple[int, ...],
    centre: tuple[float, ...],
    scale: tuple[float, ...],
) -> Outcome:
    """Mean over the targets of the mean over the series whose label is known (not NaN).

    For column k of target_BK, `classes[k]` is 0 for a regression (mean squared error of
    (target - centre[k]) / scale[k]) or the number of classes (cross-entropy of codes 0, 1, ...).
    The constants come from the training split (`constants`), not from the batch: a batch's own
    mean would give the same label another target at every step.
    """
    key_s, key_t = views.keys(key, 2)
    feature_BVTD, extra = views.frame_features(network, params, extra, batch, key_s)
    cls_BVD = contrastive.summarise(network, params, feature_BVTD, batch, key_t)
    output_BK = network.head(params, cls_BVD[:, 0])
    terms, start = [], 0
    for k, count in enumerate(classes):
        out = output_BK[:, start : start + max(count, 1)]
        start += max(count, 1)
        target_B = (batch["target_BK"][:, k] - centre[k]) / scale[k]
        each, known = cross_entropy(out, target_B) if count else squared_error(out[:, 0], target_B)
        terms.append(masked_mean(each, known & views.counted(batch)))
    value = jnp.mean(jnp.stack(terms))
    return Outcome(value, {f"loss_target_{k}": t for k, t in enumerate(terms)}, extra, None)


def outputs(classes: tuple[int, ...]) -> int:
    """How many numbers the head gives: one for a regression, one per class otherwise."""
    return sum(max(count, 1) for count in classes)


def check_any(targets: Sequence) -> None:
    """Raises UserError when there is no target at all."""
    if not targets:
        raise UserError('data.targets is empty: name what to learn, such as "LVEF:regression".')


def constants(target_NK: np.ndarray, classes: tuple[int, ...]) -> dict[str, tuple]:
    """`classes`, `centre` and `scale` from the training split's targets (NaN where missing).

    Classification columns keep their codes: centre 0, scale 1. A regression target that never
    varies keeps scale 1.

    Raises UserError when there is no target at all.
    """
    check_any(classes)
    regression_K = np.array(classes) == 0
    centre_K = np.where(regression_K, np.nanmean(target_NK, axis=0), 0.0)
    spread_K = np.nanstd(target_NK, axis=0)
    scale_K = np.where(regression_K & (spread_K > 0), spread_K, 1.0)
    return {
        "classes": tuple(classes),
        "centre": tuple(centre_K.tolist()),
        "scale": tuple(scale_K.tolist()),
    }
