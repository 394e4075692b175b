"""Laws of the figures of a report."""

import functools
import io

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from PIL import Image
from written import result_row

from tvrl_jax.report import compare, curves, pictures, plots
from tvrl_jax.report.style import COLOURS


def test_the_roc_curve_encloses_the_rank_statistic():
    rng = np.random.default_rng(0)
    positive, score = rng.random(60) < 0.4, rng.integers(0, 8, 60).astype(float)
    false, true = plots.roc_curve(positive, score)
    pairs = score[positive][:, None] - score[~positive]
    assert np.trapezoid(true, false) == pytest.approx(np.mean(np.sign(pairs) / 2 + 0.5))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_the_roc_figure_of_a_sure_head_has_its_curve(monkeypatch):
    """Of probabilities that are all exactly 1 in float64; what the other class has tells."""
    curves_drawn, curve = [], plots.roc_curve
    monkeypatch.setattr(
        plots, "roc_curve", lambda *of: curves_drawn.append(curve(*of)) or curves_drawn[-1]
    )
    rest = np.exp(-np.arange(40.0, 48.0))
    true = (np.arange(8) > 3).astype(float)
    assert plots.roc(true, np.stack([rest, 1 - rest], 1), "AF")
    assert np.trapezoid(*curves_drawn[0][::-1]) == 1


@pytest.mark.parametrize("name", [r"$\foo$", "cost [$] - price [$]"])
def test_dollars_in_a_name_are_drawn_and_no_formula(name, monkeypatch):
    drawn = []
    monkeypatch.setattr(MathTextParser, "parse", lambda *args, **_: drawn.append(args))
    true = np.array([0.0, 1.0, 0.0, 1.0])
    assert plots.predicted_against_true(true, true, name, note=name)
    assert plots.roc(true, true, name, classes=("no", name), note=name)
    assert plots.embedding_map(np.eye(4), true, name, classes=("no", name))
    assert not drawn


def test_a_method_looks_the_same_in_every_figure_of_a_page():
    rows = [result_row(name, value=0.5) for name in ("tvrl", "supervised", "untrained")]
    lines = compare.compare(rows, ("untrained",), 1.0)
    draw = functools.partial(plots.forest, lines, ("untrained",), title="", no_skill=0.0)
    alone, amid = (_pixels(draw(everyone=e)) for e in ((), ("tvrl", "supervised", "untrained")))
    seen = [{tuple(p) for p in image[..., :3].reshape(-1, 3)} for image in (alone, amid)]
    third = tuple(int(COLOURS[2][i : i + 2], 16) for i in (1, 3, 5))
    assert third in seen[1] and third not in seen[0]


def test_principal_axes_find_the_plane_that_holds_everything():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(50, 2))
    feature = np.concatenate([plane @ rng.normal(size=(2, 5)), np.ones((50, 1))], axis=1)
    position, share = plots.principal_axes(feature)
    assert share.sum() == pytest.approx(1.0) and share[0] >= share[1]
    assert np.abs(np.corrcoef(position.T)[0, 1]) < 1e-9


def test_the_running_mean_of_a_constant_is_that_constant():
    np.testing.assert_allclose(curves.running_mean(np.full(100, 3.0)), 3.0)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_sheet_shows_first_and_last_frames_of_every_clip():
    clip = np.zeros((3, 2, 8, 10, 10, 1), np.uint8)
    clip[2, 1, 7] = 255
    seen = _pixels(pictures.sheet(clip, columns=2))
    assert seen.shape[-1] == 4 and (seen[..., :3] == 255).all(-1).any()
    assert _pixels(pictures.sheet(clip[:, :1], columns=2)).shape[0] < seen.shape[0]


def test_a_cine_with_its_curve_is_a_picture():
    time = np.linspace(0, 1, 6)
    frame = np.random.default_rng(0).random((6, 12, 12))
    png = pictures.cine_with_curve(frame, time, 100 + time, frames=3, mask_THW=frame > 0.5)
    assert _pixels(png).shape[1] > 1000
