"""Makes tests/recordings/nano.npz: what the nano encoder gave when it met the published numbers.

    PYTHONPATH=. JAX_PLATFORMS=cpu python tests/make_recording.py

Run it again only when the encoder is meant to change, and after `test_parity_models.py` passes.
The numbers come from a float64 run and are kept as float32; parameters and clips are drawn by
NumPy, so that nothing but the encoder can change them.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from configs.base import get_config
from tvrl_jax.interop.torch_import import flatten
from tvrl_jax.models.build import build

FILE = Path(__file__).resolve().parent / "recordings" / "nano.npz"


def network():
    model = get_config().model
    model.update(arch="nano", image_size=32, temporal_width=24, temporal_depth=1, head_hidden=32)
    return build(frames=4, channels=1, parts=("projection",), **model)


def inputs(dtype):
    """Three clips, the second padded."""
    random = np.random.default_rng(0)
    clip = random.uniform(size=(3, 4, 32, 32, 1)).astype(np.float32)
    time = np.cumsum(random.uniform(0.5, 2, size=(3, 4)), axis=1).astype(np.float32)
    valid = np.arange(4) < np.array([4, 2, 4])[:, None]
    weight = random.normal(size=(3, 128))
    return clip.astype(dtype), time, valid, weight.astype(dtype)


def parameters(net, dtype):
    """Every parameter and statistic drawn at random, statistics positive."""
    random = np.random.default_rng(1)

    def draw(shape):
        spread = 1 / np.sqrt(max(np.prod(shape[:-1]), 4))
        return jnp.asarray(random.normal(size=shape).astype(np.float32) * spread, dtype)

    params, extra = jax.eval_shape(net.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: draw(leaf.shape), params)
    return params, jax.tree.map(lambda leaf: jnp.abs(draw(leaf.shape)) + 0.5, extra)


def run(net, params, extra, clip, time, valid, weight):
    """-> {name: array}: outputs in eval mode; gradients and statistics of a training step."""

    def forward(params, train):
        feature, moved = net.spatial(params, extra, clip, valid, train=train, key=None)
        embedded = net.embed_time(params, feature, time)
        cls, token = net.temporal(params, embedded, valid, train=train, key=None)
        causal = net.temporal(params, embedded, valid, train=train, key=None, causal=True)[1]
        embedding, moved = net.project(params, moved, cls, train=train)
        return (embedding * weight).sum() + causal.sum(), (embedding, token, causal, moved)

    (_, (*_, moved)), grad = jax.value_and_grad(forward, has_aux=True)(params, True)
    _, (embedding, token, causal, _) = forward(params, False)
    out = {"out/embedding": embedding, "out/token": token, "out/causal": causal}
    out |= {f"grad/{path}": thin(value) for path, value in flatten(grad).items()}
    return out | {f"after/{path}": value for path, value in flatten(moved).items()}


def thin(value):
    """At most 255 of its numbers, evenly spread: enough to notice a change."""
    return value.ravel()[:: value.size // 128 or 1]


def main():
    with jax.enable_x64(True):
        net = network()
        numbers = jax.jit(lambda *args: run(net, *args))(
            *parameters(net, np.float64), *inputs(np.float64)
        )
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **{k: np.asarray(v, np.float32) for k, v in numbers.items()})
    print(FILE, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
