"""A series in memory has the features of its file."""

import jax
import numpy as np
import pytest

from configs import probe_export
from tests import tiny
from tvrl_jax import inference
from tvrl_jax.data import readers
from tvrl_jax.errors import UserError
from tvrl_jax.probing import features


def _of_files(encoder, store) -> features.Features:
    chosen = features.window_settings(encoder.config, probe_export.get_config().features)
    every = range(len(store.series))
    return features.extract(encoder, store, every, chosen, batch_size=32)


def _frames(root, info) -> np.ndarray:
    (image,) = readers.read(str(root / f"{info.subject}.npy"))
    return image.frame_THWC


def test_it_is_that_of_the_same_images_and_times_in_a_table(encoder, store, root):
    found, first = _of_files(encoder, store), 0
    for i, info in enumerate(store.series):
        made = inference.encode(encoder, _frames(root, info), info.time_T)
        frames = slice(first, first + info.frames)
        first += info.frames
        near = dict(rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(made.cls_D, found.cls_ND[i], **near)
        np.testing.assert_allclose(made.token_D, found.token_ND[i], **near)
        np.testing.assert_allclose(made.frame_TD, found.frame_FD[frames], **near)
        np.testing.assert_allclose(made.token_TD, found.token_FD[frames], **near)
        assert (made.held_T == found.held_F[frames]).all()


def test_pixels_of_any_scale_and_kind_are_those_of_pretraining(encoder, store, root):
    info = store.series[0]
    frame_THWC = _frames(root, info)
    expected = inference.encode(encoder, frame_THWC, info.time_T).cls_D
    grey_THW = frame_THWC[..., 0]
    for other in (grey_THW, grey_THW.tolist(), 16.0 * grey_THW + 5, grey_THW.astype(np.int16) - 99):
        made = inference.encode(encoder, other, info.time_T).cls_D
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_the_clock_of_the_run_counts_where_none_is_given(encoder, store, root):
    info = store.series[0]
    frame_THWC, interval = _frames(root, info), encoder.config.data.frame_interval
    assert interval > 0
    own = inference.encode(encoder, frame_THWC, interval * np.arange(len(frame_THWC)))
    np.testing.assert_array_equal(inference.encode(encoder, frame_THWC).cls_D, own.cls_D)
    slower = inference.encode(encoder, frame_THWC, 3 * interval * np.arange(len(frame_THWC)))
    assert abs(slower.cls_D - own.cls_D).max() > 1e-3


def test_one_frame_and_few_windows(encoder, store, root):
    frame_THWC = _frames(root, store.series[0])
    one = inference.encode(encoder, frame_THWC[:1])
    assert one.frame_TD.shape == (1, len(one.cls_D)) and np.isfinite(one.cls_D).all()
    newest = inference.encode(encoder, frame_THWC, sampling="newest")
    held = encoder.config.clips.frames
    assert newest.held_T.sum() == held and newest.held_T[-held:].all()


@pytest.mark.parametrize(
    ("frames", "times", "sentence"),
    [
        (np.zeros((4, 8)), None, r"frames has the shape \(4, 8\): \[T, H, W\]"),
        (np.zeros((4, 8, 8, 2)), None, "with 1 or 3 channels"),
        ([np.zeros((8, 8)), np.zeros((9, 9))], None, "frames are of unequal sizes"),
        ([np.zeros((8, 8)), np.zeros((8, 8, 3))], None, "frames are of unequal sizes"),
        (np.zeros((0, 8, 8)), None, "holds no frames"),
        (np.zeros((1, 8, 8)), ["2020-01-01"], "times must be numbers, in s "),
        (np.zeros((1, 8, 8)), np.array(["2020-01-01"], "M8[D]"), "not dates"),
        (
            np.full((4, 8, 8), np.nan),
            None,
            r"frames has a pixel that is not finite .* NaN and infinite values first",
        ),
        (np.full((4, 8, 8), "a"), None, "pixels must be real numbers"),
        (np.zeros((4, 8, 8)), [0, 1, 2], "3 times were given for 4 frames"),
        (np.zeros((4, 8, 8)), [0, 2, 1, 3], "times must not fall"),
        (np.zeros((4, 8, 8)), [0, 1, np.nan, 3], "the time of frame 2 is not a number"),
        (np.zeros((4, 8, 8)), [1, 1, 1, 1], "times are all 1 and this encoder reads them"),
    ],
)
def test_what_is_no_series_is_told_in_a_sentence(encoder, frames, times, sentence):
    with pytest.raises(UserError, match=sentence):
        inference.encode(encoder, frames, times)


@pytest.mark.parametrize(
    "spacing",
    [
        (-2, 2),
        (0, 2),
        (np.nan, 2),
        (np.inf, 2),
        (2, 1e4),
        2.0,
        (2, 2, 2),
        (),
        ("a", "b"),
        (None, 2),
    ],
)
def test_a_size_of_pixels_that_is_none_is_told_in_a_sentence(encoder, spacing):
    """A file that states such a thing states nothing; who says it means something else."""
    with pytest.raises(UserError, match="^spacing_mm is .*: give the size of a pixel as"):
        inference.encode(encoder, np.zeros((1, 8, 8)), spacing_mm=spacing)


@pytest.mark.parametrize(
    ("windows", "sentence"),
    [
        (dict(sampling="newset"), 'sampling is "newset". Did you mean "newest"'),
        (dict(stride=-2), "stride is -2: it must be a whole number, 0 or more"),
        (dict(every=0), "every is 0: it must be a whole number, 1 or more"),
        (dict(every=-1), "every is -1"),
        (dict(every=1.5), "every is 1.5"),
    ],
)
def test_what_are_no_windows_is_told_in_a_sentence(windows, sentence):
    with pytest.raises(UserError, match=sentence):
        inference.encode(None, np.zeros((4, 8, 8)), **windows)


def test_a_step_may_be_a_number(tmp_path):
    for step in (300, 600):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    with pytest.raises(UserError, match="the checkpoint of step 600 is damaged"):
        inference.load(tmp_path, step=600)


def test_a_folder_may_be_below_the_home_of_its_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=f"^checkpoint {tmp_path}/runs/x: there is no such folder"):
        inference.load("~/runs/x")


def test_without_any_clock_times_are_asked_for(encoder):
    config = encoder.config.copy_and_resolve_references()
    config.data.frame_interval = 0.0
    with pytest.raises(UserError, match="give each its time in s, as in pretraining"):
        inference.encode(encoder._replace(config=config), np.zeros((4, tiny.SIZE, tiny.SIZE)))


def test_an_encoder_that_has_diverged_gives_no_features(encoder, store, root):
    """As of a checkpoint of a run whose loss was not finite, whose parameters overflow."""
    grown = encoder._replace(params=jax.tree.map(lambda leaf: leaf * np.inf, encoder.params))
    info = store.series[0]
    with pytest.raises(UserError, match="of 1 of 1 series are not finite.*lower optim.lr"):
        inference.encode(grown, _frames(root, info), info.time_T)
    with pytest.raises(UserError, match=f"of {len(store.series)} of {len(store.series)} series"):
        _of_files(grown, store)
