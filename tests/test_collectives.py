"""Between devices travel gradients, statistics and embeddings; never a picture or an activation."""

from collections import Counter
from functools import partial

import jax
import pytest
import tiny

from benchmarks.program import Moved, collectives
from configs import causal, csimclr, csimclr_te, cvrl, ltn, supervised, tvrl, videomae
from tvrl_jax import sharding, step
from tvrl_jax import state as states
from tvrl_jax.data import opening
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.learner import find_objective, make_learner
from tvrl_jax.models import strided
from tvrl_jax.objectives import contrastive

METHODS = (cvrl, ltn, videomae, csimclr, csimclr_te, tvrl, causal, supervised)
BATCH, WIDTH, FRAMES, FLOAT = 32, 128, 8, 4
# What is compared crosses the devices, forward and back: at most so often B x 128 floats.
EMBEDDINGS = 8
SMALL = 2 * BATCH  # floats of sums of scalars, and of one number for each embedding


def test_collectives_are_found_in_a_program():
    program = """
  %a = f32[8,128]{1,0} all-gather(%x), channel_id=1
  ROOT %b = (f32[3]{0}, s32[]) all-reduce(%y, %z), to_apply=%sum
  %c = pred[4]{0} collective-permute-start(%w)
  %d = f32[9]{0} add(%all-gather, %all-reduce)
  %e = f32[8,128]{1,0} all-gather(%v), channel_id=1
  %f = f32[2]{0} all-gather(%v)
  %g = f32[2]{0} all-gather(%u)
"""
    assert collectives(program) == [
        Moved("all-gather", "f32", (8, 128), 4096),
        Moved("all-reduce", "f32", (3,), 12),
        Moved("all-reduce", "s32", (), 4),
        Moved("collective-permute", "pred", (4,), 4),
        Moved("all-gather", "f32", (2,), 8),
        Moved("all-gather", "f32", (2,), 8),
    ]


def _compiled(method, root, **changes):
    """The text of a method's train step for eight devices, its state, and its number of views."""
    config = tiny.shrink(method.get_config(), root)
    config.update_from_flattened_dict(
        {"train.batch_size": BATCH, "model.head_width": WIDTH, "clips.frames": FRAMES, **changes}
    )
    store = opening.open_cohort(config.data)
    learner = make_learner(config, find_objective(config), store)
    mesh = sharding.make_mesh()
    state = states.create_sharded(
        learner.network, learner.tx, seed=0, ema=0.0, mesh=mesh, kind=config.train.sharding
    )
    rows = next(
        train_batches(
            store, split="train", clips=config.clips, views=learner.objective.views,
            batch_size=BATCH, seed=0, start_step=0, process_index=0, process_count=1,
            threads=1, workers=0,
            targets=store.targets(),
        )
    )  # fmt: skip
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    made = jax.jit(partial(step.train_step, learner), out_shardings=(shardings, None, None))
    with jax.set_mesh(mesh):
        return (
            made.lower(state, sharding.put(rows, mesh)).compile().as_text(),
            state,
            learner.objective.views,
        )


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__.rpartition(".")[2])
def test_only_gradients_statistics_and_embeddings_cross_devices(root, method):
    """A gradient crosses once for all views; twice where E_T works by two masks, as in `causal`."""
    text, state, views = _compiled(method, root)
    twice = state.params["encoder"]["temporal"] if method is causal else {}
    _check(text, state, views, twice=twice)


@pytest.mark.parametrize("method", [tvrl, cvrl, supervised], ids=lambda m: m.__name__[8:])
def test_nor_does_a_picture_cross_where_the_stem_convolves(method, root, monkeypatch):
    """As on an accelerator; kernels of the stem cross once for each view."""
    monkeypatch.setattr(strided, "conv_by_matmul", strided.conv)
    text, state, views = _compiled(method, root)
    assert " convolution(" in text
    stem = state.params["encoder"]["spatial"]["vit"]["patches"]
    _check(text, state, views, twice=[stem[name] for name in stem] * (views - 1))


def test_spread_parameters_are_gathered_once_and_activations_stay_where_they_are(root):
    text, state, views = _compiled(
        tvrl, root, **{"train.sharding": "full", "model.arch": "micro", "model.stem": "patch"}
    )
    spread = [p for p in jax.tree.leaves(state.params) if not p.sharding.is_fully_replicated]
    gathered = Counter(one.size for one in collectives(text) if one.kind == "all-gather")
    assert spread and all(gathered[size] >= n for size, n in _sizes(spread, times=1).items())
    _check(text, state, views, gathered=1)


def _check(text: str, state, views: int, *, twice=(), gathered: int = 0) -> None:
    moved = collectives(text)
    assert moved, "eight devices that exchange nothing do not learn together"
    gradients = _sizes(state.params, times=1 + gathered)
    gradients += _sizes(twice, times=1)
    statistics = _of_statistics(state.extra, views)
    rest = []
    for one in moved:
        known = next((sizes for sizes in (statistics, gradients) if sizes[one.size] > 0), None)
        if known:
            known[one.size] -= 1
        elif one.size > SMALL:
            rest.append(one)
    assert sum(one.bytes for one in rest) <= EMBEDDINGS * BATCH * WIDTH * FLOAT, rest
    # The features of the frames, the least of all activations, are larger than any of these.
    assert BATCH * FRAMES * 48 > 2 * BATCH * WIDTH
    assert max((one.size for one in rest), default=0) <= 2 * BATCH * WIDTH, rest


def _of_statistics(extra, views: int) -> Counter:
    """Of each BatchNorm and view mean and variance, forward and back, and the scale's gradient."""
    leaves = jax.tree_util.tree_leaves_with_path(extra)
    return Counter([views * leaf.size for path, leaf in leaves if path[-1].key == "mean"] * 5)


def _sizes(tree, times: int) -> Counter:
    """How many collectives of so many numbers the leaves of a tree may account for."""
    return Counter(
        {k: n * times for k, n in Counter(x.size for x in jax.tree.leaves(tree)).items()}
    )


def test_an_activation_that_crosses_devices_is_noticed(root, monkeypatch):
    """A program that gathers the features of all frames does not pass."""
    whole = contrastive.summarise

    def gathering(network, params, feature_BVTD, batch, key):
        here = jax.sharding.PartitionSpec()
        feature_BVTD = jax.lax.with_sharding_constraint(feature_BVTD, here)
        return whole(network, params, feature_BVTD, batch, key)

    monkeypatch.setattr(contrastive, "summarise", gathering)
    with pytest.raises(AssertionError):
        test_only_gradients_statistics_and_embeddings_cross_devices(root, cvrl)
