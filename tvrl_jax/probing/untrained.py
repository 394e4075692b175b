"""The same architecture before any learning: what the architecture alone gives."""

import jax

from tvrl_jax.augment import resize
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.probing.features import Encoder


def fresh(encoder: Encoder, *, seed: int) -> Encoder:
    """Newly drawn parameters and the initial BatchNorm statistics (mean 0, variance 1)."""
    params, extra = encoder.network.init(jax.random.key(seed))
    extra = {"encoder": extra["encoder"]} if "encoder" in extra else {}
    return encoder._replace(params={"encoder": params["encoder"]}, extra=extra)


def settled(encoder: Encoder, store, *, seed: int, batches: int, batch_size: int) -> Encoder:
    """`fresh`, with BatchNorm statistics of `batches` batches of training clips.

    Without them the frozen network would normalise by statistics that no data ever had, and
    pretraining would be compared with a cripple. The initial statistics fade by a tenth a batch:
    among the small variances of fresh layers a hundredth of the initial 1 would still be seen, so
    `batches` should be about a hundred. batch_size counts frames.
    """
    encoder = fresh(encoder, seed=seed)
    if not encoder.extra:
        return encoder
    network, config = encoder.network, encoder.config

    @jax.jit
    def settle(params, extra, clip_BTHWC, valid_BT):
        clip_BTHWC = resize(clip_BTHWC, config.model.image_size)
        return network.spatial(params, extra, clip_BTHWC, valid_BT, train=True, key=None)[1]

    source = train_batches(
        store,
        split="train",
        clips=config.clips.to_dict() | {"windows": 1, "drop": 0.0, "drop_spread": 0.0},
        views=1,
        batch_size=max(1, batch_size // config.clips.frames),
        seed=seed,
        start_step=0,
        process_index=0,
        process_count=1,
        threads=1,
        workers=0,
    )
    extra = encoder.extra
    for _ in range(batches):
        batch = next(source)
        extra = settle(encoder.params, extra, batch["clip_BVTHWC"][:, 0], batch["valid_BVT"][:, 0])
    source.close()
    return encoder._replace(extra=jax.device_get(extra))
