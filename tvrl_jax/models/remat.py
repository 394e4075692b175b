"""What a transformer block keeps for the backward pass; the rest of it is computed again there.

Chen et al. 2016, arXiv 1604.06174. It changes memory and time, never a value or a gradient.
"""

import jax
from flax import linen as nn

_KEPT = jax.checkpoint_policies
PRODUCT = "product"  # name of a product with weights that JAX does not recognise as one
_NAMED = _KEPT.save_only_these_names(PRODUCT)
POLICIES = {
    "none": _KEPT.everything_saveable,
    # every matrix product
    "dots": _KEPT.save_from_both_policies(_KEPT.dots_saveable, _NAMED),
    # products with weights, not attention's
    "weights": _KEPT.save_from_both_policies(_KEPT.dots_with_no_batch_dims_saveable, _NAMED),
    "blocks": _KEPT.nothing_saveable,  # a block's input alone
}


def recomputed(block: type[nn.Module], policy: str) -> type[nn.Module]:
    """The block under the policy of that name. Name its instances, or Linen renames them."""
    return block if policy == "none" else nn.remat(block, policy=POLICIES[policy])
