"""The picture of the README: a synthetic cine and its volume curve.

python -m benchmarks.cine_picture            # writes docs/cine.png
"""

import argparse
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from tvrl_jax.data import phantom
from tvrl_jax.report import pictures

SUBJECT = 1


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(kind="cardiac", subjects=20, seed=0, size=128, nuisance="mild")
        phantom.write(folder, **settings, progress=False)
        row = pd.read_csv(Path(folder) / "cohort.csv").iloc[SUBJECT]
        image = nibabel.load(Path(folder) / row.path)
        frame_THW = np.asarray(image.dataobj)[:, :, 0].transpose(2, 1, 0)
        label = nibabel.load(Path(folder) / row["mask"])
        mask_THW = np.asarray(label.dataobj)[:, :, 0].transpose(2, 1, 0)
    time_T = np.arange(len(frame_THW)) * float(image.header.get_zooms()[3])
    area_T = (mask_THW == 1).sum((1, 2)) * row.spacing_mm**2
    volume_T = volume(area_T, area=row.area_mm2, length=row.length_mm)
    picture = pictures.cine_with_curve(frame_THW, time_T, volume_T, mask_THW=mask_THW == 1)
    Path("docs/cine.png").write_bytes(picture)


def volume(area_T: np.ndarray, *, area: float, length: float) -> np.ndarray:
    """Millilitres from the cavity's area in mm^2: docs/phantom_cardiac.md, area-length relation."""
    return 5 / 6 * length * area_T * (area_T / area) ** 0.23 / 1000


if __name__ == "__main__":
    main()
