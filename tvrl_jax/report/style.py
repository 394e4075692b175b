"""How figures look. Colours: Okabe and Ito 2008, which most eyes tell apart."""

import io

from matplotlib.figure import Figure
from matplotlib.text import Text

BLUE, RED, GREEN, PINK, SKY, INK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#333333",
)
ORANGE = "#E69F00"
GREY = "#999999"
COLOURS = (BLUE, RED, GREEN, PINK, SKY, INK, ORANGE)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with Matplotlib, so figures are alike everywhere
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.7,
    "xtick.color": "#888888",
    "ytick.color": "#888888",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # two $ in the name of a column are no formula
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 160,
}


LONGEST = 40  # characters of a line


def png(figure: Figure) -> bytes:
    _cut_names(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _cut_names(figure: Figure) -> None:
    """A column may be called anything, and its name would press the panels into lines."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [label.get_text() for label in axis.get_ticklabels()]
            if any(len(text) > LONGEST for text in ticks):
                axis.set_ticklabels([_cut(text) for text in ticks])
    for text in figure.findobj(Text):
        text.set_text("\n".join(map(_cut, text.get_text().split("\n"))))


def _cut(line: str) -> str:
    """The middle of a long line is left out: names often differ at their ends."""
    if len(line) <= LONGEST:
        return line
    half = (LONGEST - 3) // 2
    return f"{line[:half]}...{line[-half:]}"
