"""Image files -> frames with real times. One module per format; `read` chooses by the name."""

import os

from tvrl_jax.data.readers import dicom, images, nifti, npy
from tvrl_jax.data.readers.image import Image, choose_slices
from tvrl_jax.errors import UserError

ARRAYS = (".npy", ".npz")
VOLUMES = (".nii", ".nii.gz")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".webp", ".bmp")
DICOM = (".dcm", ".dicom", ".ima")

__all__ = ["Image", "read"]


def read(path: str, *, slice: int | None = None) -> list[Image]:
    """The series of one file, or of one folder of single-frame DICOM files.

    Args:
      path: file or folder.
      slice: take only this slice of a volume (from 0); None gives every slice as an Image.

    Returns:
      One Image per slice position, in the order of the slices; times in seconds.

    Raises:
      UserError: one sentence that names the file and what is wrong with it.
    """
    name = path.lower()
    if os.path.isdir(path):
        found = dicom.read_folder(path)
    elif not os.path.exists(path):
        raise UserError(f"{path} does not exist: correct the path or data.root.")
    elif name.endswith(ARRAYS):
        found = npy.read(path)
    elif name.endswith(VOLUMES):
        found = nifti.read(path)
    elif name.endswith(PICTURES):
        found = images.read(path)
    elif name.endswith(DICOM) or dicom.is_dicom(path):
        found = dicom.read_file(path)
    else:
        known = ", ".join((*ARRAYS, *VOLUMES, *PICTURES, *DICOM))
        raise UserError(f"{path} has no known image format: use {known} or a folder of DICOM.")
    return choose_slices(path, found, slice)
