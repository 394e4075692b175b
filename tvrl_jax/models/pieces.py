"""A batch computed in pieces, one after another, and again in the backward pass (micro-batches).

Only what a piece is made from and what comes of it is kept, so that memory is that of one piece.
What mixes rows is computed over the whole batch: the heads' BatchNorm and the losses, which get
all embeddings; and, where `exact`, the stem's BatchNorm, whose statistics are those of the whole
batch, layer by layer: those of a layer need a pass over all pieces through the layers before it.
Values and gradients are then those of the undivided batch.

Row i of the batch belongs to piece i % count: the pieces are the same for any number of devices,
and when rows are spread over devices in order, every device has its share of each piece.
"""

from collections.abc import Callable

import jax

from tvrl_jax.models.build import Network
from tvrl_jax.models.layers import row_keys
from tvrl_jax.models.moments import pooled


def in_pieces(network: Network, count: int, *, exact: bool, render: Callable) -> Network:
    """The network whose costly functions compute `count` pieces of their rows one by one.

    Args:
      exact: BatchNorm's statistics in training are those of the whole batch; otherwise each piece
        is normalised by its own. The running ones are moved by the whole batch's in any case.
      render: makes a piece's clip_BTHWC of the rows that are given in its place.

    Each function's rows must be a multiple of `count`. Dropout draws for each row what it draws in
    the undivided batch.
    """

    def spatial(params, extra, source, valid_BT, packed_GC=None, *, train, key):
        rows = (source, valid_BT, packed_GC)
        if train and network.norms:
            return _normalised(network, count, exact, render, params, extra, rows, key)

        def piece(rows, key):
            source, *rest = rows
            return network.spatial(params, extra, render(source), *rest, train=train, key=key)[0]

        return joined(each(piece, count, rows, row_keys(key, len(valid_BT)))), extra

    def temporal(params, x_BND, mask_BN, *, key, **how):
        def piece(rows, key):
            return network.temporal(params, *rows, key=key, **how)

        return joined(each(piece, count, (x_BND, mask_BN), row_keys(key, len(x_BND))))

    def predict(params, token_BTD):
        return joined(each(lambda rows, _: network.predict(params, rows), count, token_BTD))

    def reconstruction_error(params, source, valid_BT, noise_BN, kept_B, *, keep, train, key):
        def piece(rows, key):
            source, *rest = rows
            error = network.reconstruction_error
            return error(params, render(source), *rest, keep=keep, train=train, key=key)

        key_B = row_keys(key, len(valid_BT))
        return joined(each(piece, count, (source, valid_BT, noise_BN, kept_B), key_B))

    return network._replace(
        spatial=spatial,
        temporal=temporal,
        predict=predict,
        reconstruction_error=reconstruction_error,
    )


def _normalised(network, count, exact, render, params, extra, rows, key):
    """E_S in training, where it has BatchNorm -> (feature_BND, extra)."""
    norms = network.norms

    def moments(given, name):
        """Of a layer over all pieces; what comes after it is not computed: nobody asks for it."""

        def piece(rows, _):
            source, *rest = rows
            return norms.moments(params, extra, given, render(source), *rest)[name]

        return _pool(each(piece, count, rows))

    def piece(rows, key):
        source, *rest = rows
        return norms.spatial(params, extra, given, render(source), *rest, key=key)

    given = {}
    for name in norms.names if exact else ():
        given = {**given, name: moments(given, name)}
    feature, used = each(piece, count, rows, row_keys(key, len(rows[1])))
    whole = given if exact else {name: _pool(used[name]) for name in norms.names}
    return joined(feature), norms.moved(extra, whole)


def _pool(moments: dict) -> dict:
    return {"batch": pooled(moments["batch"])}


def each(function: Callable, count: int, rows, key_B: jax.Array | None = None):
    """function(rows of a piece, their keys) of every piece, stacked along a new first axis.

    `rows`: a pytree of arrays that share their leading axis or have one that `count` divides.
    """

    def step(_, piece):
        return None, function(*piece)

    # Inside a loop nothing can be merged with the forward pass, so that no barrier is needed.
    step = jax.checkpoint(step, prevent_cse=False)
    return jax.lax.scan(step, None, apart((rows, key_B), count))[1]


def apart(rows, count: int):
    """[B, ...] -> [count, B / count, ...]: row i becomes row i // count of piece i % count."""
    return jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), rows)


def joined(pieces):
    """What `apart` took apart."""

    def together(x):
        return x.swapaxes(0, 1).reshape(x.shape[0] * x.shape[1], *x.shape[2:])

    return jax.tree.map(together, pieces)
