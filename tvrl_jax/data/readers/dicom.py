"""DICOM: one file with many frames, or a folder of single-frame files.

Frames of one slice position are a series; positions are numbered along the normal of the image.
"""

import os
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pydicom

from tvrl_jax.data.readers import dicom_pixels, dicom_series, dicom_stream, dicom_times
from tvrl_jax.data.readers.image import Image, make_image
from tvrl_jax.errors import UserError, reading
from tvrl_jax.files.claims import check_packed

BROKEN = dicom_pixels.BROKEN
PLAY = 0.05  # mm; what rounding makes of one position over the frames of a cine


class Part(NamedTuple):
    """A single-frame file of a folder."""

    path: str
    header: pydicom.Dataset


def is_dicom(path: str) -> bool:
    with reading(path), open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_file(path: str) -> list[Image]:
    """Each slice position of one file, with the times that the file states."""
    with reading(path, *BROKEN):
        header = dicom_stream.open_header(path)
    frame_NHWC = dicom_pixels.frames(path, header)
    with reading(path, *BROKEN):
        time_N, note = dicom_times.frame_times(header, len(frame_NHWC))
        places = [_frame_place(header, n) for n in range(len(frame_NHWC))]
        spacing = dicom_times.spacing(header)
        groups = _positions(places, _play([header]))
    note = _joined(note, _unlike(groups, places))
    found = []
    for k, group in enumerate(groups):
        if time_N is not None:
            with reading(path, *BROKEN):
                dicom_series.check_frames(path, header, group, time_N)
        time_T = None if time_N is None else time_N[group]
        if time_T is not None:
            group = [group[t] for t in np.argsort(time_T, kind="stable")]
            time_T = time_N[group]
        number = k if len(groups) > 1 else None
        found.append(make_image(path, frame_NHWC[group], time_T, spacing, number, note))
    return found


def read_folder(path: str) -> list[Image]:
    """Each slice position of a folder, its frames ordered by TriggerTime where every file has one
    of its own, else by InstanceNumber (the note says so, and there are no times).

    Raises UserError for frames of several patients, or of several series at one position."""
    parts, others = _scan(path)
    dicom_series.check_patient(parts)
    claimed = sum(dicom_pixels.unpacked(part.path, part.header) for part in parts)
    check_packed(path, claimed, sum(os.path.getsize(part.path) for part in parts))
    with reading(path, *BROKEN):
        places = [_place(part.header) for part in parts]
        groups = _positions(places, _play([part.header for part in parts]))
    unlike = _unlike(groups, places)
    found = []
    for k, group in enumerate(groups):
        dicom_series.check_series([parts[n] for n in group])
        with reading(path, *BROKEN):
            order, time_T, note = dicom_times.order([parts[n].header for n in group])
        if order is None:
            raise UserError(f"{path}: {note}")
        ordered = [parts[group[n]] for n in order]
        frames = _pixels(_one_size(ordered))
        note = _joined(note, unlike, others)
        number = k if len(groups) > 1 else None
        with reading(path, *BROKEN):
            spacing = dicom_times.spacing(ordered[0].header)
        found.append(make_image(path, frames, time_T, spacing, number, note))
    return found


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _unlike(groups: list[list[int]], places: list[tuple]) -> str:
    return dicom_series.note([places[group[0]] for group in groups], [len(g) for g in groups])


def _scan(path: str) -> tuple[list[Part], str]:
    """The single-frame files, and a sentence about what else lies there."""
    parts, folders, others, no_images = [], [], [], []
    for name in sorted(os.listdir(path)):
        file = os.path.join(path, name)
        if name.upper() == "DICOMDIR":
            continue
        if os.path.isdir(file):
            folders.append(name)
            continue
        if not os.path.isfile(file) or not is_dicom(file):  # reading a pipe may never end
            others.append(name)
            continue
        with reading(file, *BROKEN):
            header = dicom_stream.open_header(file, stop_before_pixels=True)
            if _is_no_image(header):
                no_images.append(name)
                continue
        if dicom_pixels.number_of_frames(file, header) != 1:
            raise UserError(f"{file} has many frames: map the file itself, not its folder.")
        parts.append(Part(file, header))
    if not parts:
        raise UserError(f"{path} holds no DICOM file: map a file, or a folder of single frames.")
    return parts, _joined(
        _left_out("not DICOM", others),
        _left_out("no images", no_images),
        _left_out("folders", folders),
    )


def _is_no_image(header: pydicom.Dataset) -> bool:
    """A report or the like. The header of an image may lack its size, too, where it was cut."""
    kind = header.get("SOPClassUID")
    return "Rows" not in header and bool(kind) and "Image Storage" not in kind.name


def _left_out(what: str, names: Sequence[str]) -> str:
    listed = f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
    return f"left out, {what}: {listed}" if names else ""


def _pixels(parts: Sequence[Part]) -> np.ndarray:
    """[T,H,W,C] of the files, of which the first one says what MONOCHROME1 is turned about."""
    found, first = [], None
    for part in parts:
        with reading(part.path, *BROKEN):
            header = dicom_stream.open_header(part.path)
        found.append(dicom_pixels.frames(part.path, header, first))
        first = first or header
    return np.concatenate(found)


def _one_size(parts: Sequence[Part]) -> Sequence[Part]:
    def size(part: Part) -> tuple:
        header = part.header
        with reading(part.path, *BROKEN):
            palette = header.get("PhotometricInterpretation") == "PALETTE COLOR"
            channels = 3 if palette else header.get("SamplesPerPixel", 1)
            return header.get("Rows"), header.get("Columns"), channels

    for part in parts:
        if size(part) != size(parts[0]):
            raise UserError(
                f"{part.path} has (rows, columns, channels) {size(part)} and {parts[0].path} "
                f"{size(parts[0])}: all frames of a series need one size."
            )
    return parts


def _place(dataset: pydicom.Dataset) -> tuple:
    """(orientation, position along the normal), rounded to what scanners repeat exactly."""
    position, axes = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
    if position is None or axes is None or len(position) != 3 or len(axes) != 6:
        location = dataset.get("SliceLocation")
        return ((), 0.0 if location is None else round(float(location), 3))
    axes = np.array([float(x) for x in axes])
    normal = np.cross(axes[:3], axes[3:])
    along = float(np.dot(normal, [float(x) for x in position]))
    return (tuple((np.round(axes, 3) + 0.0).tolist()), round(along, 3))


def _frame_place(header: pydicom.Dataset, n: int) -> tuple:
    """As `_place`, from the functional groups of frame `n`."""
    flat = pydicom.Dataset()
    for name, key in (
        ("PlanePositionSequence", "ImagePositionPatient"),
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
    ):
        item = dicom_times.functional(header, n, name)
        if item is not None and key in item:
            setattr(flat, key, item[key].value)
    return _place(flat)


def _play(headers: Sequence[pydicom.Dataset]) -> float:
    """How far apart, in mm, positions may lie that are one: never as far as two slices do."""
    items = [*headers, dicom_times.functional(headers[0], 0, "PixelMeasuresSequence") or {}]
    stated = [
        abs(float(item.get(key) or 0))
        for item in items
        for key in ("SpacingBetweenSlices", "SliceThickness")
    ]
    return min([PLAY, *(mm / 5 for mm in stated if mm > 0)])


def _positions(places: list[tuple], play: float) -> list[list[int]]:
    """Indices grouped by place, in the order of the places. Neighbours within `play` are one place;
    where they go on for longer they are slices as thin as that, and each is its own."""
    runs: list[list[int]] = []
    last: tuple | None = None
    for n in sorted(range(len(places)), key=lambda n: (places[n], n)):
        axes, along = places[n]
        if last is not None and axes == last[0] and along - last[1] <= play:
            runs[-1].append(n)
        else:
            runs.append([n])
        last = (axes, along)
    groups = []
    for run in runs:
        if places[run[-1]][1] - places[run[0]][1] <= play:
            groups.append(sorted(run))
        else:
            groups += [list(group) for _, group in groupby(run, key=lambda n: places[n])]
    return groups
