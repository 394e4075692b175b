"""What a transformer block keeps for the backward pass; the rest of it is computed again there.

Chen et al. 2016, arXiv 1604.06174. It changes memory and time, never a value or a gradient.
"""

import jax
from flax import linen as nn

_KEPT = jax.checkpoint_policies
POLICIES = {
    "none": _KEPT.everything_saveable,
    "dots": _KEPT.dots_saveable,  # every matrix product
    "weights": _KEPT.dots_with_no_batch_dims_saveable,  # products with weights, not attention's
    "blocks": _KEPT.nothing_saveable,  # a block's input alone
}


def recomputed(block: type[nn.Module], policy: str) -> type[nn.Module]:
    """The block under the policy of that name. Name its instances, or Linen renames them."""
    return block if policy == "none" else nn.remat(block, policy=POLICIES[policy])
