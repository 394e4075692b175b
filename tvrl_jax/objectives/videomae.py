"""VideoMAE: reconstruct the nine tenths of a clip that were removed (Tong et al. 2022,
arXiv 2203.12602)."""

import jax

from tvrl_jax.losses import masked_mean
from tvrl_jax.masking import token_noise
from tvrl_jax.models.build import Network
from tvrl_jax.objectives import views
from tvrl_jax.objectives.outcome import Outcome


def loss(
    network: Network, params, extra, batch, key, progress, *, mask_ratio: float, masking: str
) -> Outcome:
    """Draws which tokens stay: `masking` is "random", or "tube" (the same places at all times)."""
    key_noise, key = jax.random.split(key)
    token_BN = network.keys(batch["valid_BVT"][:, 0])
    noise_BN, kept_B, keep = token_noise(
        key_noise, token_BN, frames=network.grid[0], ratio=mask_ratio, kind=masking
    )
    return outcome(network, params, extra, batch, noise_BN, kept_B, keep, key)


def outcome(network: Network, params, extra, batch, noise_BN, kept_B, keep: int, key) -> Outcome:
    """Mean squared error of the removed patches when the kept_B of least noise are seen.

    The target is the patches' values, each patch normalised by its own mean and variance. Of a
    tubelet with a padded frame, the other frames' values are the target: nothing is to be learned
    from zeros, and a series of visits that is odd in number must not lose its newest one.
    `keep`: the most of any clip (static).
    """
    clip_BTHWC, valid_BT = views.of(0, (batch["clip_BVTHWC"], batch["valid_BVT"]))
    error_BN, removed_BN = network.reconstruction_error(
        params, clip_BTHWC, valid_BT, noise_BN, kept_B, keep=keep, train=True, key=key
    )
    value = masked_mean(error_BN, removed_BN & views.counted(batch)[:, None])
    return Outcome(value, {"loss_reconstruction": value}, extra, None)
