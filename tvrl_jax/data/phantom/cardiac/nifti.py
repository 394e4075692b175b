"""Pictures over time as NIfTI files that any viewer and our own reader show upright."""

import gzip

import nibabel as nib
import numpy as np

SLICE_MM = 8.0
LEVEL = 1  # of the compression: noise hardly shrinks further


def encode(image_THW: np.ndarray, spacing: float, interval: float) -> bytes:
    """A gzipped NIfTI with axes [x, y, slice, t], mm and seconds in its header.

    x grows to the patient's left and y to the back, as on the screen. No date goes into the gzip
    header, so equal pictures give equal files.
    """
    array = image_THW.transpose(2, 1, 0)[:, :, None, :]
    image = nib.Nifti1Image(array, np.diag([-spacing, -spacing, SLICE_MM, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((spacing, spacing, SLICE_MM, interval))
    return gzip.compress(image.to_bytes(), LEVEL, mtime=0)
