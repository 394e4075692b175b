"""Which tokens are hidden: keyed, pure, static shapes."""

import jax
import jax.numpy as jnp

from tvrl_jax.errors import UserError

KINDS = ("random", "tube")  # of `token_noise`


def frame_mask(key: jax.Array, valid_BT: jax.Array, *, ratio: float) -> jax.Array:
    """TVRL's masked frames, bool [B, T]: each valid frame on its own with probability `ratio`.

    No rounding to a count: the published masks are independent draws (recording 12 counts 15.0 %
    masked, and 0.85^8 of the 8-frame clips without any). A clip may therefore get no mask, or,
    when it is short, lose all its frames; the objective must live with both. Padding is never
    masked.
    """
    return jax.random.bernoulli(key, ratio, valid_BT.shape) & valid_BT


def kept_count(tokens: int, ratio: float) -> int:
    """How many of `tokens` stay when the fraction `ratio` is removed: the nearest, at least 1.

    The published masks keep 3 of 32 and 2 of 16 when nine tenths go (recording 09a).
    """
    return max(1, int(tokens * (1 - ratio) + 0.5))


def random_noise(key: jax.Array, valid_BN: jax.Array) -> jax.Array:
    """Sorting keys [B, N] in [0, 2): the tokens with the smallest are kept.

    MAE's masking (He et al. 2022, arXiv 2111.06377): the order of uniform noise. Tokens without a
    valid frame come after all others, so that padding is removed first.
    """
    return jax.random.uniform(key, valid_BN.shape) + ~valid_BN


def tube_noise(key: jax.Array, valid_BN: jax.Array, *, frames: int) -> jax.Array:
    """As `random_noise`, but one draw per position for all token frames.

    VideoMAE's tubes (Tong et al. 2022, arXiv 2203.12602): what is removed is removed in every
    frame, so that it cannot be copied from the next. Tokens are ordered frame by frame. A stable
    sort of these keys takes whole tubes, if a multiple of `frames` tokens is kept and no frame is
    padding.
    """
    batch, tokens = valid_BN.shape
    noise_BP = jax.random.uniform(key, (batch, tokens // frames))
    return jnp.tile(noise_BP, (1, frames)) + ~valid_BN


def token_noise(
    key: jax.Array, valid_BN: jax.Array, *, frames: int, ratio: float, kind: str
) -> tuple[jax.Array, jax.Array, int]:
    """-> (sorting keys [B, N], how many tokens of each clip stay [B], the most that may: static).

    `kind`: random or tube. The fraction `ratio` is removed of what a clip really has: a tenth of
    its places would be all of a clip that is padded to ten times its length.
    Raises UserError for another kind.
    """
    tokens = valid_BN.shape[1]
    real_B = valid_BN.sum(1)
    if kind == "random":
        kept = [kept_count(count, ratio) for count in range(tokens + 1)]
        return random_noise(key, valid_BN), jnp.array(kept)[real_B], kept[-1]
    if kind == "tube":
        positions = tokens // frames
        kept = kept_count(positions, ratio)
        return tube_noise(key, valid_BN, frames=frames), real_B // positions * kept, frames * kept
    raise UserError(f'objective.masking = "{kind}": say "random" or "tube".')
