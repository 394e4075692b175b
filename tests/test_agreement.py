"""What a cohort and the settings say of each other, where it is allowed and hardly meant."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from configs import ltn, tvrl
from tvrl_jax import agreement, learner
from tvrl_jax.data import opening


def _dated(tmp_path, days, **changes):
    """Two patients with an image on each of the days."""
    lines = ["subject,path,day,va,grade"]
    for k, patient in enumerate(("a", "b")):
        for day in days:
            name = f"{patient}{day}.npy"
            np.save(tmp_path / name, np.random.default_rng(day + k).integers(0, 99, (32, 32), "u1"))
            lines.append(f"{patient},{name},{day},{day / 7},{patient}")
    (tmp_path / "cohort.csv").write_text("\n".join(lines))
    config = tiny.shrink(tvrl.get_config(), tmp_path)
    config.data.columns.update(time="day", split="")
    config.data.update(time_unit="days", frame_interval=0.0, split_fractions=(1.0, 0.0, 0.0))
    config.data.targets = ("va:regression", "grade:classification")
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"data.time_unit": "s"}, 'note: data.time_unit is "s"'),
        ({"clips.stride": 2}, "note: clips.stride = 2 takes one visit of 2"),
        (
            {"model.max_period": 10.0},
            "times 350 days apart, and those more than 60 apart look alike",
        ),
    ],
)
def test_visits_that_are_hardly_seen_as_visits_are_noted(tmp_path, caplog, changes, words):
    config = _dated(tmp_path, (0, 40, 90, 200), **changes)
    store = opening.open_cohort(config.data)
    with caplog.at_level(logging.WARNING):
        agreement.check_cohort(config, learner.find_objective(config), store)
    notes = [text for text in caplog.messages if "batch" not in text]
    assert not notes if words is None else len(notes) == 1 and words in notes[0]


@pytest.mark.parametrize(
    ("method", "changes", "longest"),
    [
        (tvrl, {}, 14 * 33.0),  # of 8 frames, every second one
        (tvrl, {"augment.time_scale": 0.75, "augment.interval_scale": 0.5}, 14 * 33 * 1.75 * 1.5),
        (tvrl, {"clips.frames": 80}, 59 * 33.0),
        (tvrl, {"clips.relative_time": False}, 59 * 33.0),
        (tvrl, {"clips.relative_time": False, "augment.time_origin": "newest"}, 14 * 33.0),
        (tvrl, {"model.time_embedding": False}, 0.0),
        (ltn, {}, 59 * 33.0),
    ],
)
def test_the_clock_is_told_times_of_windows(method, changes, longest):
    config = method.get_config()
    config.augment.time_scale = 0.0
    config.update_from_flattened_dict(changes)
    series = (SimpleNamespace(frames=60, time_T=33.0 * np.arange(60)),)
    objective = learner.find_objective(config)
    shown = agreement._shown(config, objective, SimpleNamespace(series=series))
    assert shown == pytest.approx(longest)


def test_numbers_that_are_taken_for_classes_are_noted(tmp_path, caplog):
    config = _dated(tmp_path, (0,), **{"data.targets": ("va:classification",)})
    lines = [f"p{k},n{k}.npy,{k},{k / 7},x" for k in range(30)]
    for k in range(30):
        np.save(tmp_path / f"n{k}.npy", np.full((32, 32), k, np.uint8))
    (tmp_path / "cohort.csv").write_text("\n".join(["subject,path,day,va,grade", *lines]))
    store = opening.open_cohort(config.data)
    with caplog.at_level(logging.WARNING):
        agreement.check_cohort(config, learner.find_objective(config), store)
    assert 'column "va" has 30 classes in 30 series; "va:regression"' in caplog.text
