"""BatchNorm statistics of an encoder that has none of its own."""

import jax

from tvrl_jax.augment import resize
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.errors import UserError
from tvrl_jax.probing.features import Encoder


def of_encoder(extra: dict) -> dict:
    """The statistics of the encoder alone, {} where it has none: those of heads stay behind."""
    return {"encoder": extra["encoder"]} if "encoder" in extra else {}


def settle(encoder: Encoder, store, *, seed: int, batches: int, batch_size: int) -> Encoder:
    """The encoder with BatchNorm statistics of `batches` batches of training clips.

    Without them a frozen network would normalise by statistics that no data ever had (before any
    learning), or by those of another network's activations (an average of parameters). What it
    had fades by a tenth a batch: among the small variances of fresh layers a hundredth of the
    initial 1 would still be seen, so `batches` should be about a hundred. batch_size counts frames.
    Without BatchNorm it is the encoder as it is.

    Raises:
      UserError: the store has no training series.
    """
    if not encoder.extra:
        return encoder
    if not len(store.split("train")):
        raise UserError(
            f"{store.where} has no series in the train split, whose images settle the encoder's "
            "BatchNorm; some series must be in it."
        )
    network, config = encoder.network, encoder.config

    @jax.jit
    def see(params, extra, clip_BTHWC, valid_BT):
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
        extra = see(encoder.params, extra, batch["clip_BVTHWC"][:, 0], batch["valid_BVT"][:, 0])
    source.close()
    return encoder._replace(extra=jax.device_get(extra))
