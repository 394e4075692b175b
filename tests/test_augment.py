"""Kernels against slow, obvious implementations; the laws of one draw per series and view."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from PIL import Image, ImageEnhance
from scipy import ndimage

from tvrl_jax.augment import augment, geometry, random_numbers, resize
from tvrl_jax.augment.geometry import affine_map, count_taps
from tvrl_jax.augment.intensity import (
    Intensity,
    apply_intensity,
    draw_intensity,
    neighbour_weight,
)
from tvrl_jax.augment.time import count_from, move_times, scale_intervals
from tvrl_jax.errors import UserError

OFF = dict(
    rotation=0.0,
    crop=(1.0, 1.0),
    hflip=0.0,
    vflip=0.0,
    brightness=0.0,
    contrast=0.0,
    jitter_probability=0.0,
    blur_sigma=(0.1, 2.0),
    blur_probability=0.0,
    time_shift=0.0,
    time_scale=0.0,
    time_jitter=0.0,
    time_origin="window",
    interval_scale=0.0,
)
STRONG = dict(
    rotation=15.0,
    crop=(0.08, 1.0),
    hflip=0.5,
    vflip=0.5,
    brightness=0.8,
    contrast=0.8,
    jitter_probability=0.8,
    blur_sigma=(0.1, 2.0),
    blur_probability=0.5,
    time_shift=0.5,
    time_scale=0.2,
    time_jitter=0.01,
    time_origin="window",
    interval_scale=0.0,
)
resample = jax.jit(geometry.resample, static_argnames=("size", "taps"))
ROTATE = np.array([[0.6, -0.8], [0.8, 0.6]])


@pytest.fixture
def clip_THWC():
    return np.random.default_rng(0).uniform(size=(3, 12, 12, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def batch():
    """Eight series of five frames; the last two of every second series are padding."""
    rng = np.random.default_rng(1)
    valid_BVT = np.ones((8, 1, 5), bool)
    valid_BVT[::2, :, 3:] = False
    clip = rng.integers(0, 256, (8, 1, 5, 20, 20, 1), np.uint8)
    clip[~valid_BVT] = 0
    time = np.where(valid_BVT, np.cumsum(rng.uniform(0.1, 1, (8, 1, 5)), axis=2), 0)
    return clip, time.astype(np.float32), valid_BVT


@partial(jax.jit, static_argnames=("views", "size", "time_origin", "interval_scale"))
def compiled_augment(key, batch, strengths, *, views, size, **static):
    crop = (strengths["crop"][0], 1.0)  # the upper end is static
    settings = strengths | static | dict(crop=crop)
    return augment(key, *batch, views=views, size=size, **settings)


def run(batch, *, views=2, size=16, seed=0, **changes):
    strengths = STRONG | changes  # traced, so that all tests share a few compilations
    static = {name: strengths.pop(name) for name in ("time_origin", "interval_scale")}
    key = jax.random.key(seed)
    out = compiled_augment(key, batch, strengths, views=views, size=size, **static)
    return [np.asarray(a) for a in out]


# --- resampling -----------------------------------------------------------------------------------


def slow_resample(image_HW, matrix_22, centre_2, size, taps):
    """One output pixel at a time, one tap at a time, one source pixel at a time."""
    side = len(image_HW)
    out = np.zeros((size, size))
    for i, j, a, b in np.ndindex(size, size, taps, taps):
        output = 2 * (np.array([i * taps + a, j * taps + b]) + 0.5) / (size * taps) - 1
        source = matrix_22 @ output + centre_2
        if abs(source).max() > 1:
            continue
        row, column = np.clip((source + 1) * side / 2 - 0.5, 0, side - 1)
        for y in range(max(0, int(row)), min(side, int(row) + 2)):
            for x in range(max(0, int(column)), min(side, int(column) + 2)):
                weight = (1 - abs(row - y)) * (1 - abs(column - x))
                out[i, j] += weight * image_HW[y, x] / taps**2
    return out


@pytest.mark.parametrize("size", [8, 12, 17])
@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize(
    ("matrix", "centre"),
    [
        (np.eye(2), np.zeros(2)),
        (0.5 * np.eye(2), np.array([0.5, -0.3])),
        (np.diag([-1.0, 1.0]), np.zeros(2)),
        (0.8 * ROTATE @ np.diag([1.0, -1.0]), np.array([0.1, 0.05])),
    ],
)
def test_resampling_equals_a_naive_loop(clip_THWC, matrix, centre, size, taps):
    out = resample(jnp.asarray(clip_THWC), matrix, centre, size=size, taps=taps)
    assert out.shape == (3, size, size, 2)
    for frame, channel in [(0, 0), (2, 1)]:
        expected = slow_resample(clip_THWC[frame, ..., channel], matrix, centre, size, taps)
        np.testing.assert_allclose(out[frame, ..., channel], expected, atol=2e-5)


def test_resampling_equals_scipy_away_from_the_edge(clip_THWC):
    side, size = 12, 9
    matrix, centre = 0.6 * ROTATE, np.array([0.05, -0.08])
    out = resample(jnp.asarray(clip_THWC), matrix, centre, size=size, taps=1)
    in_pixels = matrix * side / size
    corner = matrix @ np.full(2, 1 / size - 1) + centre
    expected = ndimage.affine_transform(
        clip_THWC[0, ..., 0],
        in_pixels,
        offset=(corner + 1) * side / 2 - 0.5,
        output_shape=(size, size),
        order=1,
    )
    np.testing.assert_allclose(out[0, ..., 0], expected, atol=1e-5)


def test_flips_and_quarter_turns_are_exact(clip_THWC):
    see = partial(resample, jnp.asarray(clip_THWC), size=12, taps=1)
    for matrix, expected in [
        (np.diag([1.0, -1.0]), clip_THWC[:, :, ::-1]),
        (np.diag([-1.0, 1.0]), clip_THWC[:, ::-1]),
        (np.array([[0.0, -1.0], [1.0, 0.0]]), np.rot90(clip_THWC, -1, axes=(1, 2))),
    ]:
        np.testing.assert_allclose(see(matrix, np.zeros(2)), expected, atol=1e-5)


def test_a_crop_equals_pillow(clip_THWC):
    image = clip_THWC[0, ..., 0]
    left, top, side = 2.5, 4.0, 6.0
    centre = np.array([top + side / 2, left + side / 2]) / 6 - 1
    out = resample(jnp.asarray(clip_THWC), np.eye(2) * side / 12, centre, size=10, taps=1)
    expected = Image.fromarray(image).transform(
        (10, 10),
        Image.Transform.AFFINE,
        (side / 10, 0, left, 0, side / 10, top),
        Image.Resampling.BILINEAR,
    )
    np.testing.assert_allclose(out[0, ..., 0], expected, atol=1e-5)


def test_what_lies_outside_the_frame_is_black():
    out = resample(jnp.ones((1, 8, 8, 1)), 2 * np.eye(2), np.zeros(2), size=8, taps=2)
    expected = np.zeros((8, 8))
    expected[2:6, 2:6] = 1
    np.testing.assert_allclose(out[0, ..., 0], expected)


@pytest.mark.parametrize(("side", "size"), [(40, 20), (50, 17), (64, 8)])
def test_fine_detail_becomes_grey_and_does_not_alias(side, size):
    pattern = np.uint8(255 * (np.indices((side, side)).sum(axis=0) % 2))[None, ..., None]
    np.testing.assert_allclose(resize(pattern, size), 0.5, atol=0.13)
    once = resample(jnp.asarray(pattern / 255), jnp.eye(2), jnp.zeros(2), size=size, taps=1)
    assert abs(resize(pattern, size) - 0.5).max() <= abs(once - 0.5).max() + 1e-6
    slope = np.uint8(np.linspace(0, 255, side))[None, None, :, None].repeat(side, axis=1)
    expected = ndimage.zoom(
        slope[0, 0, :, 0] / 255.0, size / side, order=1, grid_mode=True, mode="nearest"
    )
    np.testing.assert_allclose(resize(slope, size)[0, 0, :, 0], expected, atol=0.02)


def test_taps_cover_every_source_pixel():
    assert [count_taps(s, 32) for s in (16, 32, 48, 49, 96, 97)] == [1, 1, 1, 2, 2, 3]
    for side in (20, 31, 64):
        rows_THWC = np.eye(side)[:, :, None, None].repeat(
            side, axis=2
        )  # frame k is black but row k
        seen = resample(rows_THWC, np.eye(2), np.zeros(2), size=16, taps=count_taps(side, 16))
        assert (np.asarray(seen).sum(axis=(1, 2, 3)) > 0).all()


def test_resize_keeps_leading_axes_and_scale():
    clip = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 12, 12, 1), np.uint8)
    np.testing.assert_allclose(resize(clip, 12), clip / 255, atol=1e-7)
    small = resize(clip, 8)
    assert small.shape == (2, 3, 4, 8, 8, 1) and small.dtype == jnp.float32
    np.testing.assert_array_equal(small[1, 2], resize(clip[1, 2], 8))
    np.testing.assert_allclose(resize(np.full_like(clip, 255), 8), 1, atol=1e-6)


def test_frames_must_be_square():
    with pytest.raises(ValueError, match="square"):
        resample(jnp.zeros((1, 8, 9, 1)), jnp.eye(2), jnp.zeros(2), size=8, taps=1)
    for size in (8, 4):
        with pytest.raises(ValueError, match=r"square, not \(8, 9\)"):
            resize(np.zeros((2, 3, 8, 9, 1), np.uint8), size)


# --- the drawn map --------------------------------------------------------------------------------


def draw_maps(count, **changes):
    settings = dict(rotation=0.0, crop=(1.0, 1.0), hflip=0.0, vflip=0.0) | changes
    draw = jax.jit(jax.vmap(partial(affine_map, **settings)))
    return [np.asarray(a) for a in draw(jax.random.uniform(jax.random.key(0), (count, 6)))]


def test_crops_lie_inside_the_frame_and_their_area_is_uniform():
    low, high = 0.1, 0.9
    matrix, centre = draw_maps(4000, crop=(low, high))
    side = matrix[:, 0, 0]
    np.testing.assert_array_equal(matrix, side[:, None, None] * np.eye(2))
    assert (abs(centre) + side[:, None] <= 1 + 1e-6).all()
    area = np.sort(side**2)
    assert low <= area[0] and area[-1] <= high
    uniform = np.linspace(low, high, len(area))
    assert abs(area - uniform).max() < 1.95 * (high - low) / np.sqrt(len(area))  # Kolmogorov, 1e-3
    room = centre / (1 - side[:, None])
    assert abs(room.mean(axis=0)).max() < 0.05 and abs(abs(room).mean(axis=0) - 0.5).max() < 0.03


def test_angles_lie_in_the_stated_range_about_the_frames_centre():
    matrix, centre = draw_maps(2000, rotation=30.0)
    angle = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert abs(angle).max() <= 30.001 and angle.max() > 29 and angle.min() < -29
    assert not centre.any()


def test_flips_have_the_stated_probabilities():
    matrix, _ = draw_maps(2000, hflip=0.3, vflip=0.0)
    assert (matrix[:, 0, 0] == 1).all()
    assert 0.25 < (matrix[:, 1, 1] == -1).mean() < 0.35
    matrix, _ = draw_maps(50, hflip=0.0, vflip=1.0)
    np.testing.assert_array_equal(matrix, np.broadcast_to(np.diag([-1.0, 1.0]), (50, 2, 2)))


def test_a_rotated_crop_shows_what_rotating_and_then_cropping_shows():
    """One map against two cubic resamplings of a smooth image, one after the other."""
    y, x = np.mgrid[0:64, 0:64] / 64
    image = (np.sin(5 * x) * np.cos(4 * y) + 1) / 2
    settings = dict(rotation=20.0, crop=(0.2, 0.3), hflip=1.0, vflip=0.0)
    matrix, centre = affine_map(np.array([0.9, 0.5, 0.4, 0.6, 0.5, 0.5]), **settings)
    out = resample(jnp.asarray(image[None, ..., None]), matrix, centre, size=24, taps=1)
    unflipped = np.asarray(matrix) @ np.diag([1.0, -1.0])
    side = np.sqrt(np.linalg.det(unflipped))
    turn = unflipped / side
    pixel_centre = np.full(2, 31.5)
    turned = ndimage.affine_transform(image, turn, pixel_centre - turn @ pixel_centre, order=3)
    place = (1 - side) * np.array([-0.2, 0.2])  # 0.4 and 0.6 of the room that the crop leaves
    grid = (2 * np.arange(24) + 1) / 24 - 1
    row, column = np.meshgrid(side * grid + place[0], side * grid + place[1], indexing="ij")
    cropped = ndimage.map_coordinates(turned, [row * 32 + 31.5, column * 32 + 31.5], order=3)
    np.testing.assert_allclose(out[0, ..., 0], cropped[:, ::-1], atol=3e-3)


# --- intensity ------------------------------------------------------------------------------------


def light(clip, brightness=1.0, contrast=1.0, neighbour=0.0, valid=None):
    valid = np.ones(len(clip), bool) if valid is None else valid
    return np.asarray(apply_intensity(Intensity(brightness, contrast, neighbour), clip, valid))


def test_brightness_and_contrast_equal_pillow():
    grey = np.random.default_rng(0).integers(60, 120, (1, 16, 16, 1), np.uint8)
    image = Image.fromarray(grey[0, ..., 0])
    brighter = np.asarray(ImageEnhance.Brightness(image).enhance(1.3))
    np.testing.assert_allclose(
        light(grey / 255, brightness=1.3)[0, ..., 0], brighter / 255, atol=1 / 255
    )
    sharper = np.asarray(ImageEnhance.Contrast(image).enhance(0.4))
    np.testing.assert_allclose(
        light(grey / 255, contrast=0.4)[0, ..., 0], sharper / 255, atol=1.5 / 255
    )


def test_intensity_equals_a_plain_formula_and_stays_in_range(clip_THWC):
    valid = np.array([True, True, False])
    bright = clip_THWC * 1.6
    mean = bright[:2].mean()
    expected = np.clip(mean + 1.5 * (bright - mean), 0, 1) * valid[:, None, None, None]
    out = light(clip_THWC, 1.6, 1.5, valid=valid)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert out.min() == 0 and out.max() == 1


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_equals_scipy(clip_THWC, sigma):
    out = light(clip_THWC, neighbour=neighbour_weight(sigma))
    expected = ndimage.gaussian_filter(
        clip_THWC.astype(np.float64), sigma, radius=1, axes=(1, 2), mode="reflect"
    )
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_no_draw_changes_nothing(clip_THWC):
    np.testing.assert_allclose(light(clip_THWC), clip_THWC, atol=1e-6)
    assert neighbour_weight(0.0) == 0


def test_what_padding_holds_has_no_influence(clip_THWC):
    valid = np.array([True, True, False])
    other = clip_THWC.copy()
    other[2] = 9
    one, two = (light(c, 0.9, 0.3, 0.2, valid=valid) for c in (clip_THWC, other))
    np.testing.assert_array_equal(one, two)
    assert not one[2].any()
    np.testing.assert_allclose(one[:2], light(clip_THWC[:2], 0.9, 0.3, 0.2), atol=1e-6)


def test_intensity_draws_have_the_stated_ranges_and_probabilities():
    draw = partial(
        draw_intensity,
        brightness=0.4,
        contrast=1.5,
        jitter_probability=0.7,
        blur_sigma=(0.5, 1.0),
        blur_probability=0.25,
    )
    got = jax.tree.map(np.asarray, jax.vmap(draw)(jax.random.uniform(jax.random.key(1), (3000, 5))))
    jittered = got.brightness != 1
    assert 0.66 < jittered.mean() < 0.74
    assert (got.contrast[~jittered] == 1).all()  # both or neither
    assert 0.6 <= got.brightness.min() < 0.62 and 1.38 < got.brightness.max() <= 1.4
    assert 0 <= got.contrast.min() < 0.02 and 2.48 < got.contrast.max() <= 2.5
    assert abs(np.corrcoef(got.brightness[jittered], got.contrast[jittered])[0, 1]) < 0.1
    blurred = got.neighbour > 0
    assert 0.21 < blurred.mean() < 0.29
    low, high = neighbour_weight(0.5), neighbour_weight(1.0)
    assert low <= got.neighbour[blurred].min() and got.neighbour.max() <= high


# --- time -----------------------------------------------------------------------------------------


def move(count, **strength):
    time_T, valid_T = np.array([0.0, 1.3, 2.9, 4.1, 0.0], np.float32), np.arange(5) < 4
    settings = dict(time_scale=0.0, time_shift=0.0, time_jitter=0.0) | strength
    each = jax.vmap(lambda u, normal: move_times(u, normal, time_T, valid_T, **settings))
    one, two = jax.random.split(jax.random.key(2))
    return time_T, np.asarray(
        each(jax.random.uniform(one, (count, 2)), jax.random.normal(two, (count, 5)))
    )


def test_times_are_scaled_and_shifted_together():
    time_T, out = move(500, time_scale=0.2, time_shift=3.0)
    assert not out[:, 4].any()
    shift = out[:, 0]
    scale = (out[:, 3] - shift) / 4.1
    np.testing.assert_allclose(out[:, :4], scale[:, None] * time_T[:4] + shift[:, None], atol=1e-5)
    assert -3 <= shift.min() < -2.9 and 2.9 < shift.max() <= 3
    assert 0.8 - 1e-5 <= scale.min() < 0.81 and 1.19 < scale.max() <= 1.2 + 1e-5
    assert abs(np.corrcoef(shift, scale)[0, 1]) < 0.15


def test_times_are_jittered_each_on_its_own():
    time_T, out = move(2000, time_jitter=0.01)
    assert not out[:, 4].any()
    noise = out[:, :4] - time_T[:4]
    np.testing.assert_allclose(noise.std(axis=0), 0.01, rtol=0.1)
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(4), atol=0.1)


def test_whole_numbered_times_are_not_rounded(batch):
    clip, _, valid = batch
    frames = np.where(valid, np.arange(5), 0).astype(np.float32)
    _, time, _ = run((clip, frames, valid), time_shift=0.0, time_scale=0.0)
    moved = time[np.broadcast_to(valid, time.shape)]
    assert (moved != moved.round()).all()
    assert (
        abs(moved - np.broadcast_to(frames, time.shape)[np.broadcast_to(valid, time.shape)]).max()
        < 0.1
    )


def drawn_visits(rng, count=200, frames=6):
    """Times in order, some equal, with frames missing anywhere but at least one there."""
    valid = rng.random((count, frames)) < 0.6
    valid[np.arange(count), rng.integers(frames, size=count)] = True
    time = np.cumsum(np.maximum(rng.uniform(-0.5, 2, (count, frames)), 0), axis=1)
    return np.where(valid, time, 0).astype(np.float32), valid


def slow_intervals(u_T, time_T, valid_T, scale):
    """One frame after the other."""
    out_T, before = np.zeros(len(time_T)), None
    for t in np.flatnonzero(valid_T):
        if before is None:
            out_T[t] = time_T[t]
        else:
            interval = time_T[t] - time_T[before]
            out_T[t] = out_T[before] + interval * (1 + scale * (2 * u_T[t] - 1))
        before = t
    return out_T


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_intervals_are_scaled_each_on_its_own(scale):
    rng = np.random.default_rng(3)
    time, valid = drawn_visits(rng)
    u = rng.random(time.shape).astype(np.float32)
    out = np.asarray(jax.vmap(partial(scale_intervals, interval_scale=scale))(u, time, valid))
    slow = [slow_intervals(*row, scale) for row in zip(u, time, valid, strict=True)]
    np.testing.assert_allclose(out, slow, atol=1e-5)
    assert not out[~valid].any()
    for out_T, valid_T in zip(out, valid, strict=True):
        assert (np.diff(out_T[valid_T]) >= 0).all()  # what was in order stays so


def test_scaled_intervals_keep_the_pace_on_average():
    time, valid = np.linspace(0, 7, 8, dtype=np.float32), np.ones(8, bool)
    u = jax.random.uniform(jax.random.key(5), (4000, 8))
    move = jax.vmap(lambda u_T: scale_intervals(u_T, time, valid, interval_scale=0.6))
    interval = np.diff(np.asarray(move(u)), axis=1)
    np.testing.assert_allclose(interval.mean(axis=0), 1, atol=0.03)
    assert 0.4 - 1e-5 <= interval.min() < 0.41 and 1.59 < interval.max() <= 1.6 + 1e-5
    np.testing.assert_allclose(np.corrcoef(interval.T), np.eye(7), atol=0.1)


def test_times_may_count_from_the_newest_frame():
    time, valid = drawn_visits(np.random.default_rng(4))
    out = np.asarray(jax.vmap(partial(count_from, time_origin="newest"))(time, valid))
    for out_T, time_T, valid_T in zip(out, time, valid, strict=True):
        np.testing.assert_array_equal(out_T[valid_T], time_T[valid_T] - time_T[valid_T][-1])
        assert not out_T[~valid_T].any()
    np.testing.assert_array_equal(count_from(time, valid, time_origin="window"), time)


def test_intervals_are_scaled_and_counted_before_the_rest_moves_them(batch):
    clip, time, valid = batch
    later = np.where(valid, time + 5, 0)
    strength = dict(time_origin="newest", interval_scale=0.5, time_jitter=0.0)
    out, moved, kept = run((clip, later, valid), **strength, time_scale=0.0, time_shift=0.5)
    newest = np.where(kept, moved, -9).max(axis=2)
    assert len(np.unique(newest)) == 16 and abs(newest).max() <= 0.5  # the shift alone
    wide = np.diff(moved, axis=2)[kept[..., 1:]] / np.diff(np.repeat(time, 2, 1))[kept[..., 1:]]
    assert 0.5 <= wide.min() < 0.8 and 1.2 < wide.max() <= 1.5
    same, _, _ = run((clip, later, valid))
    np.testing.assert_array_equal(out, same)  # images are none of its business


# --- the whole ------------------------------------------------------------------------------------


def test_everything_off_is_the_evaluation_transform(batch):
    clip, time, valid = batch
    out, moved, kept = run(batch, **OFF)
    np.testing.assert_allclose(out, np.broadcast_to(resize(clip, 16), out.shape), atol=2e-5)
    np.testing.assert_array_equal(moved, np.broadcast_to(time, moved.shape))
    np.testing.assert_array_equal(kept, np.broadcast_to(valid, kept.shape))


def test_shapes_types_and_range(batch):
    for views in (1, 2):
        clip, time, valid = run(batch, views=views)
        assert clip.shape == (8, views, 5, 16, 16, 1) and time.shape == valid.shape == (8, views, 5)
        assert (clip.dtype, time.dtype, valid.dtype) == (np.float32, np.float32, bool)
        assert clip.min() >= 0 and clip.max() <= 1


def test_all_frames_of_a_clip_share_one_draw(batch):
    clip, time, valid = batch
    still = np.repeat(clip[:, :, :1], 5, axis=2)
    out, _, _ = run((still, time, np.ones_like(valid)))
    np.testing.assert_array_equal(out, np.repeat(out[:, :, :1], 5, axis=2))


def test_rows_and_views_have_draws_of_their_own(batch):
    clip, time, valid = (np.repeat(a[1:2], 8, axis=0) for a in batch)
    out, moved, _ = run((clip, time, valid))
    for array in (out.reshape(16, -1), moved.reshape(16, -1)):
        assert len(np.unique(array, axis=0)) == 16


def test_a_row_keeps_its_draw_whatever_the_other_rows_hold_and_however_many_there_are(batch):
    others = [np.concatenate([a[:4], a[4:] * 0]) for a in batch]
    for a, b in zip(run(batch), run(others), strict=True):
        np.testing.assert_array_equal(a[:4], b[:4])
    key = jax.random.key(0)
    for many, few in zip(random_numbers(key, 9, 2, 5), random_numbers(key, 4, 2, 5), strict=True):
        np.testing.assert_array_equal(many[:4], few)
        assert len(np.unique(many.reshape(18, -1), axis=0)) == 18


def test_two_windows_are_augmented_each_on_its_own(batch):
    clip, time, valid = batch
    pair = [np.concatenate([a, a[:, :, ::-1]], axis=1) for a in (clip, time, np.ones_like(valid))]
    out, moved, _ = run(pair, **OFF)
    np.testing.assert_allclose(out, resize(pair[0], 16), atol=2e-5)
    np.testing.assert_array_equal(moved, pair[1])
    one_source, _, _ = run([a[:, :1] for a in pair])
    np.testing.assert_allclose(run(pair)[0][:, 0], one_source[:, 0], atol=1e-6)


def test_padding_stays_black_and_at_time_0(batch):
    clip, time, valid = run(batch)
    assert not clip[~valid].any() and not time[~valid].any()
    assert clip[valid].any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(valid, np.repeat(batch[2], 2, axis=1))


def test_the_key_decides(batch):
    for a, b in zip(run(batch, seed=4), run(batch, seed=4), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (run(batch, seed=4)[0] != run(batch, seed=5)[0]).any()


def test_eight_devices_draw_what_one_draws_without_moving_clips(batch):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(batch, NamedSharding(mesh, P("data")))
    key = jax.device_put(jax.random.key(0), NamedSharding(mesh, P()))
    function = jax.jit(partial(augment, views=2, size=16, **STRONG))
    compiled = function.lower(key, *spread).compile()
    assert "all-gather" not in compiled.as_text()
    out = compiled(key, *spread)
    assert out[0].sharding.spec[0] == "data"
    for a, b in zip(out, run(batch), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_number_of_windows_that_does_not_fit_the_objective_is_refused(batch):
    clip, time, valid = (np.repeat(a, 2, axis=1) for a in batch)
    with pytest.raises(UserError, match=r"clips\.windows = 2"):
        augment(jax.random.key(0), clip, time, valid, views=1, size=16, **OFF)
