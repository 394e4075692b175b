"""A synthetic short-axis cine cohort with known physiology; docs/phantom_cardiac.md.

One 50-frame gzipped NIfTI [size, size, 1, 50] int16 and one uint8 mask (1 cavity, 2 myocardium)
per subject, in images/ and masks/.
"""

from pathlib import Path

from tvrl_jax.data.phantom.cardiac.appearance import STRENGTHS
from tvrl_jax.data.phantom.cardiac.nifti import encode
from tvrl_jax.data.phantom.cardiac.subject import draw, pictures, row
from tvrl_jax.data.phantom.kind import Kind
from tvrl_jax.files import whole_file


def write_subject(root: Path, seed: int, size: int, nuisance: str, index: int) -> list[dict]:
    """The subject's row; its files are written unless both are there (then they are whole)."""
    subject = draw(seed, index, size=size, nuisance=nuisance)
    line = row(subject)
    if not all((root / line[c]).exists() for c in ("path", "mask")):
        frames, mask = pictures(subject, size, seed, index)
        for column, array in (("path", frames), ("mask", mask)):
            content = encode(array, subject.look.spacing, subject.interval)
            whole_file.write(root / line[column], content, sync=False)
    return [line]


KIND = Kind(
    version=1,
    nuisances=tuple(STRENGTHS),
    folders=("images", "masks"),
    write_subject=write_subject,
)
