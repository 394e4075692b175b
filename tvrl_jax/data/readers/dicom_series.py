"""Whether DICOM frames belong together: one patient, one series at each slice position."""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset

from tvrl_jax.data.readers import dicom_pixels
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
        if pair and _repeats(files, tag) and _share_moments(files, tag):
            raise UserError(
                f"{pair[1]} and {pair[0]} lie at one slice position and show two kinds of image of "
                f"the same moments ({tag}): keep one cine a folder."
            )


def _share_moments(files: Sequence[tuple[str, Dataset]], tag: str) -> bool:
    """Whether trigger times repeat, and only in images of another kind. Those of a dynamic, which
    may all be the same, repeat within each."""
    pairs = [[_stated(*file, name) for name in (tag, "TriggerTime")] for file in files]
    times, both = {time for _, time in pairs}, set(map(tuple, pairs))
    return len(times) < len(files) == len(both)


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
