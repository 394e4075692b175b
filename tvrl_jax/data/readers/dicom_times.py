"""What a DICOM header says about a frame: its time, its order, its pixel size, its scale.

Unknown or senseless statements (a frame time of 0) count as none."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import DT


def functional(header: Dataset, n: int, name: str) -> Dataset | None:
    """The item `name` of frame n's functional groups, its own before the shared one."""
    own = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence")
    for group in (own[n] if own and n < len(own) else None, shared[0] if shared else None):
        if group is not None and group.get(name):
            return group[name].value[0]
    return None


def frame_times(header: Dataset, frames: int) -> tuple[np.ndarray | None, str]:
    """Seconds [frames] of a multi-frame file and a note.

    In this order: the frames' functional groups (trigger delay, temporal offset, acquisition
    time), FrameTimeVector (milliseconds since the frame before), FrameTime (milliseconds). Equal
    times of a slice are taken only where nothing else is stated: every frame of a gated dynamic
    may have the same trigger delay."""
    equal, slice_N = [], None
    for time_N in _times_per_frame(header, frames):  # what comes later may be no time, and unread
        slice_N = slice_N or _slices(header, frames)
        if _differ(time_N, slice_N):
            return time_N, ""
        equal.append(time_N)
    time_N, note = _steps(header, frames)
    return (equal[0], "") if time_N is None and equal else (time_N, note)


def _times_per_frame(header: Dataset, frames: int) -> Iterator[np.ndarray]:
    """Seconds [frames] of each functional group that every frame of several has."""
    for source in (_trigger_delay, _temporal_offset, _acquired):
        found = [source(header, n) for n in range(frames)]
        if frames > 1 and None not in found:
            yield np.array(found, np.float64)


def _differ(time_N: np.ndarray, slice_N: Sequence[tuple]) -> bool:
    """Whether every slice of several frames has several times."""
    groups: dict[tuple, list[float]] = {}
    for time, where in zip(time_N.tolist(), slice_N, strict=True):
        groups.setdefault(where, []).append(time)
    several = [times for times in groups.values() if len(times) > 1]
    return all(len(set(times)) > 1 for times in several)


def _slices(header: Dataset, frames: int) -> list[tuple]:
    """What tells the slice of each frame from the others: its position and orientation."""

    def rounded(n: int, name: str, key: str) -> tuple:
        item = functional(header, n, name)
        value = None if item is None else item.get(key)
        return () if value is None else tuple(round(float(x), 2) for x in value)

    return [
        (
            rounded(n, "PlanePositionSequence", "ImagePositionPatient"),
            rounded(n, "PlaneOrientationSequence", "ImageOrientationPatient"),
        )
        for n in range(frames)
    ]


def _steps(header: Dataset, frames: int) -> tuple[np.ndarray | None, str]:
    """As `frame_times`, from what the header says about all frames at once."""
    vector = header.get("FrameTimeVector")
    if vector is not None and not isinstance(vector, str) and np.iterable(vector):
        steps = np.array([float(x) for x in vector])
        if len(steps) == frames and steps[1:].min(initial=1.0) > 0:
            return (np.cumsum(steps) - steps[0]) / 1000, ""
        return None, "FrameTimeVector does not fit the frames"
    step = header.get("FrameTime")
    if step is not None and math.isfinite(float(step)) and float(step) > 0:
        return np.arange(frames) * float(step) / 1000, ""
    trigger = header.get("TriggerTime")
    if frames == 1 and trigger is not None:
        return np.array([float(trigger)]) / 1000, ""
    return None, "" if frames == 1 else "no FrameTime, FrameTimeVector or times per frame"


def _trigger_delay(header: Dataset, n: int) -> float | None:
    item = functional(header, n, "CardiacSynchronizationSequence")
    value = None if item is None else item.get("NominalCardiacTriggerDelayTime")
    return None if value is None else float(value) / 1000


def _temporal_offset(header: Dataset, n: int) -> float | None:
    item = functional(header, n, "TemporalPositionSequence")
    value = None if item is None else item.get("TemporalPositionTimeOffset")
    return None if value is None else float(value)


def _acquired(header: Dataset, n: int) -> float | None:
    item = functional(header, n, "FrameContentSequence")
    value = None if item is None else item.get("FrameReferenceDateTime")
    if item is not None and value is None:
        value = item.get("FrameAcquisitionDateTime")
    first = functional(header, 0, "FrameContentSequence")
    if not value or first is None:
        return None
    start = first.get("FrameReferenceDateTime") or first.get("FrameAcquisitionDateTime")
    return (DT(str(value)) - DT(str(start))).total_seconds()


def order(headers: Sequence[Dataset]) -> tuple[list[int] | None, np.ndarray | None, str]:
    """(order, seconds in that order or None, note) of single frames at one position; an order of
    None means that there is none, and the note says what is wrong."""
    trigger = [header.get("TriggerTime") for header in headers]
    why = "no TriggerTime" if None in trigger else "TriggerTime repeats"
    if None not in trigger:
        seconds = np.array([float(value) for value in trigger]) / 1000
        if len(set(seconds.tolist())) == len(headers):
            ranks = np.argsort(seconds, kind="stable")
            return ranks.tolist(), seconds[ranks], ""
    number = [header.get("InstanceNumber") for header in headers]
    if len(headers) == 1:
        return [0], None, ""
    if None in number or len(set(map(int, number))) < len(number):
        problem = "is missing" if None in number else "repeats"
        return (
            None,
            None,
            f"its frames have no order ({why}, InstanceNumber {problem}): keep one cine a folder.",
        )
    ranks = np.argsort([int(x) for x in number], kind="stable")
    return ranks.tolist(), None, f"ordered by InstanceNumber: {why}"


def spacing(header: Dataset) -> tuple[float, float] | None:
    """(row, column) in mm from PixelSpacing, the pixel measures, ImagerPixelSpacing, or the one
    ultrasound region in centimetres."""
    measures = functional(header, 0, "PixelMeasuresSequence") or Dataset()
    for value in (
        header.get("PixelSpacing"),
        measures.get("PixelSpacing"),
        header.get("ImagerPixelSpacing"),
    ):
        if value is not None and len(value) == 2:
            return float(value[0]), float(value[1])
    return _ultrasound_spacing(header)


def _ultrasound_spacing(header: Dataset) -> tuple[float, float] | None:
    """Of the one region in centimetres. A region larger than the image speaks of another image,
    from before it was made smaller."""
    regions = header.get("SequenceOfUltrasoundRegions") or []
    if len(regions) != 1 or regions[0].get("PhysicalUnitsXDirection") != 3:
        return None
    region = regions[0]
    if region.RegionLocationMaxX1 > header.Columns or region.RegionLocationMaxY1 > header.Rows:
        return None
    return abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10


def rescale(header: Dataset, n: int) -> tuple[float, float]:
    """(slope, intercept) of frame n."""
    item = functional(header, n, "PixelValueTransformationSequence") or header
    slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
    return (
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )
