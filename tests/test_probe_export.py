"""Features as files: each row is its series' own, in the order of the table, to the last bit."""

import os

import numpy as np
import pandas as pd
import pytest

from configs import probe_export
from tests import probe_network
from tvrl_jax.errors import UserError
from tvrl_jax.probing import check, export, features


@pytest.fixture
def config(tmp_path):
    c = probe_export.get_config()
    c.features.cache, c.features.batch_size = str(tmp_path / "cache"), 32
    return c


def quiet(line):
    pass


def alone(encoder, store, i: int, config) -> features.Features:
    """The features of one series by itself."""
    settings = features.window_settings(encoder.config, config.features)
    where = dict(folder=config.features.cache, say=quiet)
    return features.compute(encoder, store, [i], settings=settings, batch_size=32, **where)


@pytest.mark.parametrize("feature", ["cls", "token"])
def test_every_series_has_its_row(encoder, store, config, tmp_path, feature):
    config.export.feature = feature
    written = export.run(encoder, store, config, tmp_path, quiet)
    assert [path.name for path in written] == ["features.csv", "features.npz"]
    table = pd.read_csv(written[0], dtype={"patient": str})
    held = np.load(written[1])
    assert {"train", "val", "test"} == set(table.split) and len(table) == len(store.series)
    for i, info in enumerate(store.series):
        own = alone(encoder, store, i, config)
        about = (info.row, info.id, info.subject, info.split, info.frames)
        assert tuple(table.iloc[i][list(export.ABOUT)]) == about
        for name in ("cls", "token"):
            np.testing.assert_allclose(
                held[name][i], getattr(own, f"{name}_ND")[0], rtol=1e-5, atol=1e-6
            )
    numbers = table.filter(regex=r"^f\d+$").to_numpy(np.float32)
    np.testing.assert_array_equal(numbers, held[feature])
    assert list(table.columns[5:7]) == ["f00", "f01"] and numbers.shape[1] == probe_network.WIDTH
    assert not any(name.startswith("frame/") for name in held.files)


def test_frames_follow_their_series(encoder, store, config, tmp_path):
    config.export.frames = True
    held = np.load(export.run(encoder, store, config, tmp_path, quiet)[1])
    for i, info in enumerate(store.series):
        own, here = alone(encoder, store, i, config), held["frame/series"] == i
        assert here.sum() == info.frames and np.ptp(np.flatnonzero(here)) == info.frames - 1
        np.testing.assert_array_equal(held["frame/time"][here], info.time_T)
        np.testing.assert_array_equal(held["frame/held"][here], own.held_F)
        for name, expected in (("feature", own.frame_FD), ("token", own.token_FD)):
            np.testing.assert_allclose(held[f"frame/{name}"][here], expected, rtol=1e-5, atol=1e-6)


def test_a_cohort_of_one_split_and_any_order(encoder, store, config, tmp_path):
    """Nothing is learned, so nothing but series is needed."""
    some = store.only(store.split("test")[::-1])
    table = pd.read_csv(export.run(encoder, some, config, tmp_path, quiet)[0])
    assert list(table.series) == [info.id for info in some.series] and set(table.split) == {"test"}
    own = alone(encoder, some, 0, config).cls_ND[0]
    np.testing.assert_allclose(table.iloc[0, 5:].astype(float), own, rtol=1e-5, atol=1e-6)


def test_the_same_again_is_the_same_to_the_byte(encoder, store, config, tmp_path):
    first = [p.read_bytes() for p in export.run(encoder, store, config, tmp_path, quiet)]
    again = [p.read_bytes() for p in export.run(encoder, store, config, tmp_path, quiet)]
    assert first == again
    assert sorted(os.listdir(tmp_path)) == ["cache", "features.csv", "features.npz"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("baselines", ("constant",), 'config.baselines has "constant"; kind "export" takes'),
        ("against", ("x",), 'config.against has "x"'),
        ("export.feature", "frame", 'config.export.feature has "frame"'),
    ],
)
def test_what_cannot_be_exported_is_named(config, key, value, words):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=words):
        check.config(config)
