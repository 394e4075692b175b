"""The picture of docs/phantom_retina.md: two eyes over their visits, and how their drusen grow.

python -m benchmarks.retina_picture            # writes docs/retina.png
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from tvrl_jax.data.phantom.retina.disease import height_at
from tvrl_jax.data.phantom.retina.subject import SIDES, Patient, Series, draw, pictures
from tvrl_jax.report.style import BLUE, GREY, RED, STYLE, png

SIZE, COLUMNS, PATIENTS = 128, 7, 400


def chosen() -> list[tuple[Patient, Series]]:
    """The first eye of each kind that converts between two of at least six visits."""
    found = {}
    for index in range(PATIENTS):
        patient = draw(0, index, nuisance="mild")
        for series in patient.series:
            since_V = patient.visits.years - patient.visits.years[-1] - series.disease.conversion
            if len(since_V) >= 6 and (since_V < 0).sum() >= 4 and (since_V >= 0).sum() >= 2:
                found.setdefault(series.disease.neovascular, (patient, series))
    return [found[kind] for kind in sorted(found)]


@rc_context(STYLE)
def drawn(eyes: list[tuple[Patient, Series]]) -> bytes:
    figure = Figure(figsize=(9.6, 2.9 * len(eyes)), layout="constrained")
    grid = figure.add_gridspec(2 * len(eyes), COLUMNS, height_ratios=(1.35, 1) * len(eyes))
    for row, (patient, series) in enumerate(eyes):
        year_V = patient.visits.years
        taken = np.unique(np.round(np.linspace(0, len(year_V) - 1, COLUMNS)).astype(int))
        image_VHW = pictures(patient, series, SIZE, 0)
        for column, v in enumerate(taken):
            axis = figure.add_subplot(grid[2 * row, column])
            axis.imshow(image_VHW[v], cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
            axis.set_title(f"{year_V[v]:.1f} years", loc="center", fontsize=8, fontweight="normal")
        curve(figure.add_subplot(grid[2 * row + 1, :]), patient, series)
    return png(figure)


def curve(axis, patient: Patient, series: Series) -> None:
    """Height of the drusen over time, with the visits and the conversion."""
    year_V, disease = patient.visits.years, series.disease
    time = np.linspace(0, year_V[-1], 200)
    axis.plot(time, height_at(disease, time - year_V[-1]), color=BLUE)
    axis.plot(year_V, height_at(disease, year_V - year_V[-1]), "o", color=BLUE, ms=4)
    kind = ("atrophy", "neovascular disease")[disease.neovascular]
    when = year_V[-1] + disease.conversion
    axis.axvline(when, color=RED, lw=1)
    axis.annotate(f" {kind}", (when, 0), color=RED, fontsize=8, va="bottom")
    side = SIDES[series.number % 2]
    label = f"{patient.name} {side}: {disease.rate:.0f} um a year"
    axis.set_title(label, fontsize=8, fontweight="normal", color=GREY)
    axis.set(xlabel="years since the first visit", ylabel="drusen [um]")
    axis.margins(x=0.02)
    axis.set_ylim(0, 1.15 * disease.height)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    Path("docs/retina.png").write_bytes(drawn(chosen()))


if __name__ == "__main__":
    main()
