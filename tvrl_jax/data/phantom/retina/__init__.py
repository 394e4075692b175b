"""A synthetic cohort of dated retinal scans with known growth and hazard; docs/phantom_retina.md.

One grey PNG of 8 bits per visit, images/p00000_OD_v00.png, and one row of cohort.csv for each.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tvrl_jax.data.phantom.kind import Kind
from tvrl_jax.data.phantom.retina.appearance import STRENGTHS
from tvrl_jax.data.phantom.retina.subject import draw, pictures, rows
from tvrl_jax.files import whole_file


def write_subject(root: Path, seed: int, size: int, nuisance: str, index: int) -> list[dict]:
    """The patient's rows; the files are written unless all are there (then they are whole)."""
    patient = draw(seed, index, nuisance=nuisance)
    lines = rows(patient, size)
    if not all((root / line["path"]).exists() for line in lines):
        images = [i for s in patient.series for i in pictures(patient, s, size, seed)]
        for line, image_HW in zip(lines, images, strict=True):
            whole_file.write(root / line["path"], encode(image_HW), sync=False)
    return lines


def encode(image_HW: np.ndarray) -> bytes:
    """A PNG; it carries no date, so equal pictures give equal files."""
    buffer = io.BytesIO()
    Image.fromarray(image_HW).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


KIND = Kind(
    version=2,
    nuisances=tuple(STRENGTHS),
    folders=("images",),
    write_subject=write_subject,
)
