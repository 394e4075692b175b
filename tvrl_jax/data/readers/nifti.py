"""NIfTI: x, y, slice, time. Each slice is a series; rows of a frame follow y and columns x, in the
file's own order (the affine turns nothing). Integers stay integers and floats float32."""

import gzip
import logging
import math
import os
import zlib
from typing import IO

import nibabel
import numpy as np
from nibabel.batteryrunners import Report
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from tvrl_jax.data.readers.image import Image, make_image
from tvrl_jax.errors import UserError, reading
from tvrl_jax.files.claims import check_claim, check_packed

BROKEN = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    ValueError,
    KeyError,
    zlib.error,
    gzip.BadGzipFile,
)
BLOCK = 1 << 20  # bytes of what is behind the pixels, which nobody needs
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
# Its warnings name no file, and speak of fields that are not used here.
nibabel.imageglobals.logger.setLevel(logging.CRITICAL)
MILLIMETRES = {"mm": 1.0, "meter": 1e3, "micron": 1e-3, "unknown": 1.0}


class _NoExtensions(nibabel.nifti1.Nifti1Extensions):
    """Notes between header and pixels (DICOM, XML, ...) are passed over: nothing of them is used,
    and their stated sizes are not to be believed."""

    @classmethod
    def from_fileobj(cls, fileobj, size, byteswap):
        return cls()


class _Sizes:
    """A pixel size of 0 stays what it is, none; nibabel would make it 1. Both drop the sign."""

    @staticmethod
    def _chk_pixdims(hdr, fix=False):
        if fix:
            hdr["pixdim"][1:4] = np.abs(hdr["pixdim"][1:4])
        return hdr, Report(HeaderDataError)


class _Header1(_Sizes, nibabel.Nifti1Header):
    exts_klass = _NoExtensions


class _Header2(_Sizes, nibabel.Nifti2Header):
    exts_klass = _NoExtensions


class _Image1(nibabel.Nifti1Image):
    header_class = _Header1


class _Image2(nibabel.Nifti2Image):
    header_class = _Header2


def read(path: str) -> list[Image]:
    """Times come from the fourth pixel dimension where the header states its unit."""
    with reading(path, *BROKEN), _open(path) as file:
        image = _kind(file).from_stream(file)
        header = image.header
        space, time = header.get_xyzt_units()
        zooms = [float(zoom) for zoom in header.get_zooms()]
        _check_size(path, image)
        stored = np.asanyarray(image.dataobj.get_unscaled())
        slope, intercept = image.dataobj.slope, image.dataobj.inter
        _read_to_end(path, file)
    pixels, scale = _to_SZTC(path, stored), MILLIMETRES[space]
    interval = zooms[3] * SECONDS.get(time, 0.0) if len(zooms) > 3 else 0.0
    frames = pixels.shape[1]
    time_T = np.arange(frames) * interval if math.isfinite(interval) and interval > 0 else None
    spacing = (zooms[1] * scale, zooms[0] * scale)
    return [
        make_image(path, _rescaled(frame_THWC, slope, intercept), time_T, spacing, k)
        for k, frame_THWC in enumerate(pixels)
    ]


def _open(path: str) -> IO[bytes]:
    return gzip.open(path, "rb") if _is_packed(path) else open(path, "rb")


def _is_packed(path: str) -> bool:
    return path.lower().endswith(".gz")


def _kind(file: IO[bytes]) -> type[nibabel.Nifti1Image]:
    first = file.read(4)
    return (
        _Image2 if 540 in (int.from_bytes(first, order) for order in ("little", "big")) else _Image1
    )


def _check_size(path: str, image) -> None:
    shape = tuple(int(n) for n in image.shape)
    claimed = math.prod(shape) * image.get_data_dtype().itemsize
    offset, size = int(image.dataobj.offset), os.path.getsize(path)
    if any(n <= 0 for n in shape):
        raise UserError(f"{path} holds no frames (its shape is {shape}): remove it.")
    if _is_packed(path):
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
        check_packed(path, offset + max(claimed, math.prod(shape) * 4 * scaled), size)
    else:
        check_claim(path, claimed, size - offset)
    first = image.header_class.single_vox_offset
    if offset < first:
        raise UserError(
            f"{path} says that its pixels lie within its header or in another file (they begin at "
            f"byte {offset}, not {first} or later): save header and pixels as one .nii."
        )


def _read_to_end(path: str, file: IO[bytes]) -> None:
    """gzip compares its checksum at the end of what is packed, and pixels may end before: a flipped
    bit would make other pixels of them, and nobody know."""
    if _is_packed(path):
        size = os.path.getsize(path)
        while file.read(BLOCK):
            check_packed(path, file.tell(), size)


def _to_SZTC(path: str, stored: np.ndarray) -> np.ndarray:
    """[x,y], [x,y,z], [x,y,z,t] or RGB of these -> a view [S,T,H,W,C]."""
    planes = [stored] if stored.dtype.names is None else [stored[name] for name in "RGB"]
    stored = np.stack(planes, axis=-1)
    axes = stored.shape[:-1]
    while len(axes) > 4 and axes[-1] == 1:
        stored, axes = stored[..., 0, :], axes[:-1]
    if not 2 <= len(axes) <= 4:
        raise UserError(f"{path} has shape {axes}: a NIfTI of x, y, slice, time is needed.")
    stored = stored.reshape(*axes, *[1] * (4 - len(axes)), stored.shape[-1])
    return stored.transpose(2, 3, 1, 0, 4)


def _rescaled(frame_THWC: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if slope == 1.0 and intercept == 0.0:
        return frame_THWC
    scaled_THWC = frame_THWC.astype(np.float32)
    scaled_THWC *= np.float32(slope)
    scaled_THWC += np.float32(intercept)
    return scaled_THWC
