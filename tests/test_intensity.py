"""Scaling to uint8 and fitting into a square, against slow and obvious versions."""

import numpy as np
import pytest

from tvrl_jax.data import intensity
from tvrl_jax.errors import UserError

RNG = np.random.default_rng(0)
PLAIN = dict(image_size=16, channels=1, pixel_mm=0.0, fit="pad", percentiles=(0.5, 99.5))


def to_uint8(frames, spacing=None, **changes):
    return intensity.to_uint8([np.asarray(frames)], [spacing], **{**PLAIN, **changes})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32])
def test_scaling_is_by_the_series_percentiles(dtype):
    frames = RNG.normal(100, 30, (4, 16, 16, 1)).clip(0, 255).astype(dtype)
    low, high = np.percentile(frames.astype(float), (0.5, 99.5))
    expected = np.rint((np.clip(frames, low, high) - low) / (high - low) * 255)
    assert np.abs(to_uint8(frames) - expected).max() <= 1


def test_scaling_does_not_depend_on_gain_and_offset():
    frames = RNG.integers(0, 1000, (3, 16, 16, 1)).astype(np.int32)
    plain = to_uint8(frames).astype(int)
    for other in (frames * 7 - 5000, frames + 2**30, frames.astype(np.float32) * 1e30):
        assert np.abs(to_uint8(other) - plain).max() <= 1


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_limits_of_the_whole_range_of_a_type(dtype):
    ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    low, high = intensity.limits([ends], (25, 75))
    np.testing.assert_allclose([low, high], np.percentile(ends.astype(float), (25, 75)), rtol=1e-9)


def test_constant_and_almost_empty_images():
    for value in (0, 7, 65535):
        assert (to_uint8(np.full((2, 9, 9, 1), value, np.uint16)) == 0).all()
    frames = np.zeros((1, 16, 16, 1), np.int16)
    frames[0, 3, 4] = 500  # fewer pixels than the percentiles ignore
    stored = to_uint8(frames, percentiles=(1, 99))
    assert stored[0, 3, 4, 0] == 255 and stored.sum() == 255


def test_pad_keeps_everything_and_the_aspect():
    frames = np.zeros((1, 10, 20, 1), np.int16)
    frames[0, :, [0, 1, 18, 19]] = 900
    stored = to_uint8(frames, fit="pad")[0, ..., 0]
    assert (stored[:4] == 0).all() and (stored[12:] == 0).all()
    assert (stored[4:12, [0, 15]] > 200).all() and (stored[4:12, 3:13] == 0).all()


def test_crop_takes_the_centre():
    frames = np.zeros((1, 16, 32, 1), np.float32)
    frames[0, :, 8:24] = RNG.uniform(0, 1, (16, 16, 1))
    expected = to_uint8(frames[:, :, 8:24], percentiles=(0, 100))
    stored = to_uint8(frames, fit="crop", percentiles=(0, 100))
    assert np.abs(stored.astype(int) - expected).max() <= 4  # another minimum: 0


def test_shrinking_averages_and_does_not_alias():
    stripes = np.zeros((1, 64, 64, 1), np.uint8)
    stripes[:, :, ::2] = 200
    stored = to_uint8(stripes, percentiles=(0, 100)).astype(int)
    assert np.abs(stored[0, 2:-2, 2:-2] - 127).max() <= 3
    spot = RNG.uniform(0, 1, (1, 64, 64, 1)).astype(np.float32)
    stored = to_uint8(spot, percentiles=(0, 100))
    assert stored.mean() == pytest.approx(255 * spot.mean(), abs=3)


def test_resampling_to_a_pixel_size():
    disc = np.hypot(*(np.mgrid[:40, :40] - 19.5)) < 10
    frames = (disc * 100).astype(np.uint8)[None, ..., None]
    settings = dict(image_size=32, percentiles=(0, 100))
    area = [
        (to_uint8(frames, (mm, mm), pixel_mm=2.0, fit="crop", **settings) / 255).sum()
        for mm in (1.0, 2.0)
    ]
    assert area[0] == pytest.approx(disc.sum() / 4, rel=0.05)
    assert area[1] == pytest.approx(disc.sum(), rel=0.05)
    squeezed = to_uint8(frames, (2.0, 1.0), pixel_mm=2.0, fit="crop", **settings)[0, ..., 0]
    wide, tall = ((squeezed > 127).any(axis=axis).sum() for axis in (0, 1))
    assert (wide, tall) == (10, 20)
    with pytest.raises(UserError, match="80 x 80"):
        to_uint8(frames, (2.0, 2.0), pixel_mm=1.0, fit="pad")
    without = to_uint8(frames, None, pixel_mm=2.0, **settings)
    np.testing.assert_array_equal(without, to_uint8(frames, None, **settings))


def joined(parts, spacing, *, image_size, channels, pixel_mm, fit, percentiles):
    """Of files of one size, by way of one array of all their frames."""
    frames = np.concatenate([intensity.with_channels(part, channels) for part in parts])
    low, high = map(float, np.percentile(frames, percentiles))
    settings = dict(image_size=image_size, pixel_mm=pixel_mm, fit=fit)
    placement = intensity.place(*frames.shape[1:3], spacing, **settings)
    squares = [
        intensity.resized(intensity.scaled(frame, low, high), placement, image_size)
        for frame in frames
    ]
    return np.clip(np.rint(squares), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kinds", [("u1", "u1", "u1"), ("u1", "<u2", "<i4"), ("<i2", "<f4", "<i4")])
@pytest.mark.parametrize(
    "changes", [{}, dict(fit="crop", pixel_mm=1.5), dict(channels=3, percentiles=(0, 100))]
)
def test_files_of_one_size_are_stored_as_if_they_were_one(kinds, changes):
    draw = [RNG.integers(0, 120, (2, 20, 18, 3)) * scale + scale / 3 for scale in (1, 1.5, 2)]
    parts = [array.astype(kind) for array, kind in zip(draw, kinds, strict=True)]
    settings = {**PLAIN, **changes}
    stored = intensity.to_uint8(parts, [(2.0, 1.0)] * 3, **settings)
    np.testing.assert_array_equal(stored, joined(parts, (2.0, 1.0), **settings))


def test_of_files_of_different_size_each_pixel_counts_once():
    small, large = RNG.integers(0, 99, (1, 8, 8, 1)), RNG.integers(0, 999, (2, 40, 30, 1))
    pixels = np.concatenate([small.ravel(), large.ravel()])
    found = intensity.limits([small, large], (2, 97))
    assert found == tuple(np.percentile(pixels, (2, 97)))


def test_frames_of_different_size_are_placed_each_by_its_own():
    small = RNG.integers(0, 999, (2, 12, 16, 1)).astype(np.uint16)
    large = small.repeat(3, axis=1).repeat(3, axis=2)  # the same percentiles, whatever counts
    wide = small[:, :6]
    settings = {**PLAIN, "percentiles": (0, 100)}
    for fit in intensity.FITS:
        stored = intensity.to_uint8([large, small, wide], [None] * 3, **settings | dict(fit=fit))
        low, high = intensity.limits([small], (0, 100))
        for part, got in zip((large, small, wide), np.split(stored, 3), strict=True):
            size = part.shape[1:3]
            place = intensity.place(*size, None, image_size=16, pixel_mm=0.0, fit=fit)
            squares = [intensity.resized(intensity.scaled(f, low, high), place, 16) for f in part]
            np.testing.assert_array_equal(got, np.clip(np.rint(squares), 0, 255))
    stored = intensity.to_uint8([large, small], [None] * 2, **settings)
    assert np.abs(stored[:2].astype(int) - stored[2:]).mean() < 20  # one picture, nearly


def test_a_thing_keeps_its_size_in_mm_when_the_scanner_changes():
    def disc(size: int, radius: float) -> np.ndarray:
        inside = np.hypot(*(np.mgrid[:size, :size] - (size - 1) / 2)) < radius
        return (inside * 200).astype(np.uint8)[None, ..., None]

    settings = PLAIN | dict(image_size=32, pixel_mm=2.0, fit="crop", percentiles=(0, 100))
    parts, spacings = [disc(40, 12), disc(88, 24)], [(1.0, 1.0), (0.5, 0.5)]
    first, second = (intensity.to_uint8(parts, spacings, **settings) / 255).sum((1, 2, 3))
    assert first == pytest.approx(np.pi * 6**2, rel=0.05) and second == pytest.approx(first, 0.03)


def test_channels():
    colour = RNG.integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    luma = np.rint(colour @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(intensity.with_channels(colour, 1)[..., 0], luma)
    grey = to_uint8(colour[..., :1], channels=3)
    assert grey.shape == (2, 16, 16, 3) and (grey[..., 0] == grey[..., 2]).all()
    kept = to_uint8(colour, channels=3, percentiles=(0, 100)).astype(int)
    assert np.abs(kept - (colour - colour.min()) * (255 / np.ptp(colour))).max() <= 1


@pytest.mark.parametrize(
    "change",
    [
        dict(percentiles=(99, 1)),
        dict(percentiles=(1,)),
        dict(percentiles=(0, float("nan"))),
        dict(channels=2),
        dict(image_size=0),
        dict(pixel_mm=-1.0),
        dict(pixel_mm=float("nan")),
        dict(fit="squash"),
        dict(fit="stretch", pixel_mm=1.0),
    ],
)
def test_senseless_settings(change):
    with pytest.raises(UserError, match=r"data\."):
        intensity.check_settings(**{**PLAIN, **change})
