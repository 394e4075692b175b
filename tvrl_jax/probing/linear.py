"""The linear probe: every draw and every grid cell in one program."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tvrl_jax.probing import heads
from tvrl_jax.probing.problem import Prediction, Problem

# what one fit needs of a problem
PER_DRAW = ("target_MN", "weight_MN", "val_target_MJ", "val_weight_MJ", "seed_M")
# A head of the usual size adds noise of the size of the signal along the many directions that a
# few labelled patients say nothing about; a tenth of it still shows what the start contributes.
START = 0.1
FLOOR = 0.03  # of the standard deviation among the rows in use, whole training split = 1


def fit(
    feature: dict, problem: Problem, *, learning_rates, weight_decays, epochs: int, chunk: int
) -> list[Prediction]:
    """Full-batch AdamW on standardised features; epoch and cell with the least validation loss.

    feature: split -> [N, D]. `chunk` draws are fitted at once (0: all of them).
    The test features are multiplied only with the chosen weights.
    """
    grid_G2 = np.asarray(list(itertools.product(learning_rates, weight_decays)), np.float32)
    feature = standardise(feature)
    fitted = _fit(
        feature["train"],
        feature["val"],
        {name: jnp.asarray(getattr(problem, name)) for name in PER_DRAW},
        jnp.asarray(grid_G2),
        kind=problem.kind,
        outputs=problem.outputs,
        epochs=epochs,
        chunk=chunk or len(problem.draws),
    )
    test_MNK = predict(fitted["head"], feature["test"], problem)
    return [
        Prediction(
            draw,
            test_MNK[m],
            {
                "learning_rate": float(grid_G2[fitted["cell"][m], 0]),
                "weight_decay": float(grid_G2[fitted["cell"][m], 1]),
                "epoch": int(fitted["epoch"][m]),
            },
        )
        for m, draw in enumerate(problem.draws)
    ]


@functools.partial(jax.jit, static_argnames=("kind", "outputs", "epochs", "chunk"))
def _fit(feature_ND, val_JD, draws, grid_G2, *, kind, outputs, epochs, chunk):
    """The chosen head of every draw, for raw features, with its cell and epoch."""

    def one_draw(draw):
        mean_D, std_D = moments(feature_ND, draw["weight_MN"])
        key = jax.random.key(draw["seed_M"])
        start = heads.init(key, feature_ND.shape[1], outputs)
        start = jax.tree.map(lambda a: START * a, start)

        def cell(pair):
            features = (feature_ND, val_JD)
            return _fit_cell(start, features, draw, (mean_D, std_D), pair, kind, epochs)

        best = jax.vmap(cell)(grid_G2)
        picked = jnp.argmin(best["loss"])
        return {**jax.tree.map(lambda a: a[picked], best), "cell": picked}

    return jax.lax.map(one_draw, draws, batch_size=chunk)


def _fit_cell(head, features, draw, scale, pair, kind, epochs):
    """AdamW without decay of the bias; the epoch with the least validation loss."""
    loss = heads.loss(kind)
    optimiser = optax.adamw(pair[0], weight_decay=pair[1], mask={"kernel": True, "bias": False})

    def error(head, feature_ND, target_N, weight_N):
        return heads.mean(loss(heads.apply(unscale(head, *scale), feature_ND), target_N), weight_N)

    def epoch(carry, number):
        head, state, best = carry
        gradient = jax.grad(error)(head, features[0], draw["target_MN"], draw["weight_MN"])
        update, state = optimiser.update(gradient, state, head)
        head = optax.apply_updates(head, update)
        value = error(head, features[1], draw["val_target_MJ"], draw["val_weight_MJ"])
        better = value < best["loss"]
        now = {"head": head, "loss": value, "epoch": number}
        return (head, state, jax.tree.map(lambda a, b: jnp.where(better, a, b), now, best)), None

    best = {"head": head, "loss": jnp.inf, "epoch": jnp.int32(0)}
    carry = (head, optimiser.init(head), best)
    (_, _, best), _ = jax.lax.scan(epoch, carry, jnp.arange(1, epochs + 1, dtype=jnp.int32))
    return {**best, "head": unscale(best["head"], *scale)}


def standardise(feature: dict) -> dict:
    """All splits, by the mean and standard deviation of the whole training split (no labels)."""
    mean_D, std_D = feature["train"].mean(0), feature["train"].std(0)
    std_D = np.where(std_D > 0, std_D, 1)
    return {split: jnp.asarray((value - mean_D) / std_D) for split, value in feature.items()}


def moments(feature_ND, weight_N):
    """Mean and standard deviation of the rows in use, as matrix products.

    Features that (almost) do not vary among few rows get the floor instead of being blown up.
    """
    total = jnp.maximum(weight_N.sum(), 1)
    mean_D = weight_N @ feature_ND / total
    variance_D = weight_N @ feature_ND**2 / total - mean_D**2
    return mean_D, jnp.sqrt(jnp.maximum(variance_D, FLOOR**2))


def unscale(head, mean_D, std_D):
    """The head for raw features that equals `head` on standardised ones.

    So the features are one matrix for all draws and the fits become one matrix product.
    """
    kernel = head["kernel"] / std_D[:, None]
    return {"kernel": kernel, "bias": head["bias"] - mean_D @ kernel}


def predict(head_M, test_ND, problem: Problem) -> np.ndarray:
    """Of every test series, by the head of each draw: [M, N, K]."""
    output_MNK = jax.vmap(heads.apply, (0, None))(head_M, test_ND)
    value = (problem.centre_M[:, None, None], problem.spread_M[:, None, None])
    return heads.decode(problem.kind, output_MNK, *value)
