"""Whether DICOM frames belong together: one patient, one series at each slice position."""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset

from tvrl_jax.data.readers import dicom_pixels, dicom_times
from tvrl_jax.errors import UserError, reading

KINDS = ("ImageType", "EchoNumbers")  # magnitude and phase, the echoes of one excitation
TURNED = 0.05  # of a direction cosine (3 degrees); scanners repeat those of a stack more exactly


def check_patient(files: Sequence[tuple[str, Dataset]]) -> None:
    """UserError when two files (path, header) state two patients. Their names are not repeated:
    what is printed ends in logs."""
    pair = _differing(files, "PatientID")
    if pair:
        raise UserError(
            f"{pair[1]} and {pair[0]} are of two patients (PatientID): keep one cine, of one "
            "patient, a folder."
        )


def check_series(files: Sequence[tuple[str, Dataset]]) -> None:
    """UserError when two files of one slice position are of two series, of which one at least has
    several frames. Some scanners make every slice of a stack a series, or every frame of a cine.
    Nor may one series hold every moment twice, as magnitude and phase."""
    pair = _differing(files, "SeriesInstanceUID")
    if pair and _repeats(files, "SeriesInstanceUID"):
        raise UserError(
            f"{pair[1]} and {pair[0]} lie at one slice position and are of two series "
            "(SeriesInstanceUID): keep one cine a folder."
        )
    for tag in KINDS:
        pair = _differing(files, tag)
        if not pair or not _repeats(files, tag):
            continue
        if _share_moments([(_stated(*f, tag), _stated(*f, "TriggerTime")) for f in files]):
            raise UserError(
                f"{pair[1]} and {pair[0]} lie at one slice position and show two kinds of image of "
                f"the same moments ({tag}): keep one cine a folder."
            )


def check_frames(path: str, header: Dataset, group: Sequence[int], time_N: np.ndarray) -> None:
    """UserError when the frames `group` of one slice position of a file show two kinds of image of
    the same moments."""
    kinds = [_kind(header, n) for n in group]
    if _share_moments(list(zip(kinds, time_N[group].tolist(), strict=True))):
        raise UserError(
            f"{path} shows two kinds of image of the same moments (frame type or echo time), such "
            "as magnitude and phase: keep one cine a file."
        )


def _kind(header: Dataset, n: int) -> tuple[str, ...]:
    """What is shown by frame n."""
    stated = {
        "MRImageFrameTypeSequence": ("FrameType", "ComplexImageComponent"),
        "MREchoSequence": ("EffectiveEchoTime",),
    }
    items = {name: dicom_times.functional(header, n, name) or Dataset() for name in stated}
    return tuple(str(items[name].get(key)) for name, keys in stated.items() for key in keys)


def _share_moments(pairs: Sequence[tuple[object, object]]) -> bool:
    """Of (kind, time): whether times repeat, and only in images of another kind. Those of a
    dynamic, which may all be the same, repeat within each."""
    return len({time for _, time in pairs}) < len(pairs) == len(set(pairs))


def _repeats(files: Sequence[tuple[str, Dataset]], tag: str) -> bool:
    """Whether two files state the same."""
    stated = [_stated(path, header, tag) for path, header in files]
    stated = [text for text in stated if text]
    return len(set(stated)) < len(stated)


def _stated(path: str, header: Dataset, tag: str) -> str:
    with reading(path, *dicom_pixels.BROKEN):
        return str(header.get(tag) or "").strip().casefold()


def _differing(files: Sequence[tuple[str, Dataset]], tag: str) -> tuple[str, str] | None:
    """The first file that states the tag, and the first one that states it otherwise."""
    first: tuple[str, str] | None = None
    for path, header in files:
        stated = _stated(path, header, tag)
        if not stated:
            continue
        first = first or (path, stated)
        if stated != first[1]:
            return first[0], path
    return None


def note(places: Sequence[tuple], frames: Sequence[int]) -> str:
    """What makes slices unlike each other, such as a scout among those of a stack; `places` are
    their (orientation, position), `frames` how many each has."""
    found = []
    axes = [place[0] or (0.0,) * 6 for place in places]
    if np.ptp(np.array(axes), axis=0).max() > TURNED:
        found.append("its slices differ in orientation")
    if min(frames) != max(frames):
        found.append(f"its slices have {min(frames)} to {max(frames)} frames")
    return " and ".join(found) + (": is one of them a scout?" if found else "")
