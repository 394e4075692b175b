"""Pictures of images, as PNG bytes: a sheet of augmented clips, a cine with its volume curve."""

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from tvrl_jax.report.style import BLUE, GREY, RED, STYLE, png

SHEET_WIDTH = 1200  # pixels, about
FRAMES = 4  # of each clip on a sheet


def sheet(clip_NVTHWC: np.ndarray, *, columns: int = 4) -> bytes:
    """Clips (uint8) as strips of a few frames.

    FRAMES frames are taken evenly from each clip; the views of a series are one above the
    other, the series are apart. What lies between the strips is transparent.
    """
    count, views, length, height, width, _ = clip_NVTHWC.shape
    columns, frames = min(columns, count), min(FRAMES, length)
    taken = np.round(np.linspace(0, length - 1, frames)).astype(int)
    clip = _rgba(clip_NVTHWC[:, :, taken])
    gap = max(height // 6, 2)
    line = max(height // 32, 1)
    cell_height, cell_width = views * (height + line) + gap, frames * (width + line) + gap
    rows = math.ceil(count / columns)
    board = np.zeros((rows * cell_height - gap, columns * cell_width - gap, 4), np.uint8)
    for n, v, t in np.ndindex(count, views, frames):
        y = n // columns * cell_height + v * (height + line)
        x = n % columns * cell_width + t * (width + line)
        board[y : y + height, x : x + width] = clip[n, v, t]
    return _encode(board)


def _rgba(image: np.ndarray) -> np.ndarray:
    """uint8 [..., 1 or 3] -> [..., 4], opaque."""
    colour = np.broadcast_to(image, (*image.shape[:-1], 3))
    return np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=-1)


def _encode(board_HWC: np.ndarray) -> bytes:
    image = Image.fromarray(board_HWC)
    scale = SHEET_WIDTH / image.width
    # Small frames grow by whole pixels, so that what the encoder sees stays recognisable.
    scale = max(round(scale), 1) if scale >= 1 else scale
    size = (round(image.width * scale), round(image.height * scale))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    buffer = io.BytesIO()
    image.resize(size, method).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


@rc_context(STYLE)
def cine_with_curve(
    frame_THW: np.ndarray,
    time_T: np.ndarray,
    volume_T: np.ndarray,
    *,
    frames: int = 8,
    title: str = "",
    time_label: str = "time [s]",
    volume_label: str = "LV volume [ml]",
    mask_THW: np.ndarray | None = None,
) -> bytes:
    """Frames of a cine above the volume that they show; dots on the curve tell where they are.

    `mask_THW`, when given, is outlined in the frames (0 = outside).
    """
    taken = np.round(np.linspace(0, len(time_T) - 1, min(frames, len(time_T)))).astype(int)
    figure = Figure(figsize=(9.6, 3.6))
    grid = figure.add_gridspec(2, len(taken), height_ratios=(1, 1.5))
    for column, t in enumerate(taken):
        axis = figure.add_subplot(grid[0, column])
        # One grey scale for all frames, or the flow of blood would look like a lamp.
        axis.imshow(frame_THW[t], cmap="gray", vmin=frame_THW.min(), vmax=frame_THW.max())
        axis.set_axis_off()
        if mask_THW is not None:
            _outline(axis, mask_THW[t] > 0)
        axis.set_title(f"{time_T[t]:.2f}", loc="center", fontsize=8, fontweight="normal")
    axis = figure.add_subplot(grid[1, :])
    axis.plot(time_T, volume_T, color=BLUE)
    axis.plot(time_T[taken], volume_T[taken], "o", color=BLUE, ms=4)
    _extremes(axis, time_T, volume_T)
    axis.set(xlabel=time_label, ylabel=volume_label)
    axis.margins(x=0.01, y=0.18)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return png(figure)


def _outline(axis: Axes, mask_HW: np.ndarray) -> None:
    if 0 < mask_HW.sum() < mask_HW.size:
        axis.contour(mask_HW, levels=[0.5], colors=[RED], linewidths=1)


def _extremes(axis: Axes, time_T: Sequence[float], volume_T: np.ndarray) -> None:
    for name, t, up in (("EDV", volume_T.argmax(), 1), ("ESV", volume_T.argmin(), -1)):
        axis.axhline(volume_T[t], color=GREY, lw=0.8, ls=":")
        axis.annotate(
            f"{name} {volume_T[t]:.0f}",
            (time_T[t], volume_T[t]),
            xytext=(4, 5 * up),
            textcoords="offset points",
            va="bottom" if up > 0 else "top",
            fontsize=8,
        )
