"""Features and encoders whose answer to every question about time is known."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from tests import probe_network
from tvrl_jax.probing.features import Encoder
from tvrl_jax.probing.temporal.sight import Sight
from tvrl_jax.probing.windows import Windows

BOOTSTRAP = dict(samples=100, seed=0)
SERIES, FRAMES, WIDTH = 40, 6, 5


def make_table(seed: int = 0) -> Windows:
    """A window of each series, some of them short, at irregular times."""
    rng = np.random.default_rng(seed)
    length_N = rng.integers(2, FRAMES + 1, SERIES)
    length_N[0] = 1
    valid_WT = np.arange(FRAMES) < length_N[:, None]
    first_W = np.cumsum(length_N) - length_N
    time_WT = np.cumsum(rng.uniform(0.2, 2, (SERIES, FRAMES)), 1)
    time_WT -= time_WT[:, :1]
    return Windows(
        np.arange(SERIES, dtype=np.int32),
        np.where(valid_WT, first_W[:, None] + np.arange(FRAMES), first_W[:, None]),
        np.where(valid_WT, time_WT, 0).astype(np.float32),
        valid_WT,
    )


def make_sight(temporal_part, table: Windows, frame_FD=None, embed=None) -> Sight:
    """A network whose temporal part is `temporal_part(x_BTD, valid_BT) -> (cls, token)`."""
    frames = int(table.valid_WT.sum())
    rng = np.random.default_rng(1)
    frame_FD = rng.normal(size=(frames, WIDTH)) if frame_FD is None else frame_FD
    network = SimpleNamespace(
        embed_time=embed or (lambda params, x_BTD, time_BT: x_BTD),
        temporal=lambda params, x_BTD, valid_BT, *, train, key: temporal_part(x_BTD, valid_BT),
    )
    # a named tuple of functions hashes by value, which the compiled passes are cached by
    network = probe_network.make(FRAMES, 8)._replace(**vars(network))
    encoder = Encoder(network, {"encoder": {"temporal": {}}}, {}, None)
    subject_N = np.arange(SERIES) // 2
    frame_FD = frame_FD.astype(np.float32)
    return Sight(encoder, None, np.arange(SERIES), subject_N, frame_FD, None, 16)


def mean_of_frames(x_BTD, valid_BT):
    weight_BT1 = valid_BT[..., None].astype(x_BTD.dtype)
    return (x_BTD * weight_BT1).sum(1) / weight_BT1.sum(1), x_BTD


def first_frame(x_BTD, valid_BT):
    return x_BTD[:, 0], x_BTD


def with_time(params, x_BTD, time_BT):
    return x_BTD + 3 * jnp.stack([jnp.cos(time_BT), jnp.sin(time_BT), *[time_BT] * 3], -1)
