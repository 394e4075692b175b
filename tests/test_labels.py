"""A supervised run goes on with the classes and the measures that it began with."""

import json
import logging

import pandas as pd
import pytest
import tiny

from configs import supervised, tvrl
from tvrl_jax import labels, trainer
from tvrl_jax.data import opening
from tvrl_jax.errors import UserError
from tvrl_jax.learner import find_objective, make_learner


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "cohort"
    tiny.write_cohort(folder)
    _edit(folder, lambda table: table.assign(large=table.large.map({"0": "mild", "1": "severe"})))
    return folder


def _edit(root, change):
    table = pd.read_csv(root / "cohort.csv", dtype=str)
    change(table).to_csv(root / "cohort.csv", index=False)


def _config(root, method=supervised):
    config = tiny.shrink(method.get_config(), root)
    if method is supervised:
        config.model.update(stem="patch", patch_size=8)
    return config


def _begun(folder):
    (folder / "checkpoints" / "3").mkdir(parents=True)
    return folder


def _learner(root, method=supervised, config=None):
    config = config or _config(root, method)
    store = opening.open_cohort(config.data)
    return make_learner(config, find_objective(config), store), store


def test_a_class_that_was_renamed_is_not_taken_for_another(root, tmp_path):
    """Codes are positions in the sorted names: of two that change places, a head knows nothing."""
    folder = _begun(tmp_path / "run")
    labels.write(folder, *_learner(root))
    learner, store = _learner(root)
    assert labels.hold(folder, learner, store) == learner
    _edit(root, lambda table: table.replace({"large": {"severe": "a lot"}}))
    with pytest.raises(UserError, match=r"cohort.csv, column \"large\": .*'mild', 'severe'.*a lot"):
        labels.hold(folder, *_learner(root))
    assert labels.hold(tmp_path / "other", *_learner(root))  # a new run may


def test_targets_in_another_order_are_refused(root, tmp_path):
    """The head's numbers, centres and scales are kept by position: one would be read as another."""
    folder, config = _begun(tmp_path / "run"), _config(root)
    config.data.targets = ("radius:regression", "rate:regression")
    labels.write(folder, *_learner(root, config=config))
    assert labels.hold(folder, *_learner(root, config=config))
    for targets in (config.data.targets[::-1], ("rate:regression",)):
        config.data.targets = targets
        with pytest.raises(UserError, match="began with the targets radius, rate.* now .* rate"):
            labels.hold(folder, *_learner(root, config=config))


def test_a_regression_is_measured_from_the_mean_of_the_beginning(root, tmp_path, caplog):
    folder = _begun(tmp_path / "run")
    began, store = _learner(root)
    labels.write(folder, began, store)
    _edit(root, lambda table: table.assign(radius=[str(10 + k) for k in range(len(table))]))
    changed, store = _learner(root)
    assert changed.rule.centre != began.rule.centre
    with caplog.at_level(logging.WARNING):
        held = labels.hold(folder, changed, store)
    assert held.rule == began.rule and "not those that the run began with" in caplog.text


def test_what_is_kept_is_what_a_run_of_labels_wrote(root, tmp_path):
    folder = _begun(tmp_path / "run")
    labels.write(folder, *_learner(root, tvrl))
    assert not (folder / labels.FILE).exists()  # learns without labels
    assert labels.hold(folder, *_learner(root))  # from before they were kept
    for text in ("{", "[]", '{"classes": {}}', '{"classes": [], "centre": [0], "scale": [1]}'):
        (folder / labels.FILE).write_text(text)
        with pytest.raises(UserError, match="labels.json"):
            labels.hold(folder, *_learner(root))


def test_a_run_that_goes_on_keeps_to_its_labels(root, tmp_path):
    config, folder = _config(root), tmp_path / "run"
    config.train.steps = config.train.checkpoint_every = 1
    trainer.train(config, folder)
    kept = json.loads((folder / labels.FILE).read_text())
    assert kept["classes"] == {"radius": [], "large": ["mild", "severe"]}
    _edit(root, lambda table: table.replace({"large": {"severe": "a lot"}}))
    with pytest.raises(UserError, match="began with the classes"):
        trainer.train(config, folder)
