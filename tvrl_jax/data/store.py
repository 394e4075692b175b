"""Decoded frames at random access, and what the table says about them."""

import mmap
import resource
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from tvrl_jax import errors
from tvrl_jax.data import packed
from tvrl_jax.data.sources import Skipped
from tvrl_jax.data.table import MISSING, cells
from tvrl_jax.data.targets import Target, labels, outcomes
from tvrl_jax.errors import UserError

MOST_OPEN = 256  # files mapped at once; each holds a file descriptor


class Unreadable(UserError):
    """A file of the store that is gone or damaged while it is in use."""


class SeriesInfo(NamedTuple):
    id: str
    subject: str
    split: str
    row: int  # of the table's file, of the series' first image; the header is row 1
    frames: int
    time_T: np.ndarray  # float64, data.time_unit
    slice: int | None
    lost: int | None = None  # row of the series' newest image, where that image is left out


class Place(NamedTuple):
    """Where the frames of a series are."""

    path: str
    start: int


def _open_files() -> int:
    """Mapped at once: a quarter of what a process may have open, which is 256 in many shells."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if allowed == resource.RLIM_INFINITY else max(1, min(MOST_OPEN, allowed // 4))


class Store:
    """The packed cohort. Threads may share it; it can be pickled, and opens its files anew."""

    def __init__(
        self,
        *,
        series: Sequence[SeriesInfo],
        places: Sequence[Place],
        table: pd.DataFrame,
        older: pd.DataFrame | None = None,  # of other rows of the series; index = the series' ids
        where: str,
        columns: dict[str, str],
        known_targets: Sequence[Target],
        time_unit: str,
        image_size: int,
        channels: int,
        skipped: Sequence[Skipped] = (),
        notes: Sequence[str] = (),
    ):
        self.series, self.places = tuple(series), tuple(places)
        self.subjects = tuple(sorted({info.subject for info in series}))
        code = {subject: k for k, subject in enumerate(self.subjects)}
        self.subject_index = np.array([code[info.subject] for info in series], np.int32)
        self.text, self.where, self.columns = table, where, columns
        self.older = older
        self.known_targets = tuple(known_targets)
        self.time_unit, self.image_size, self.channels = time_unit, image_size, channels
        self.skipped, self.notes = tuple(skipped), tuple(notes)
        self._frames = lru_cache(_open_files())(self._map)

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_frames"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._frames = lru_cache(_open_files())(self._map)

    def _map(self, i: int) -> tuple[mmap.mmap, np.ndarray]:
        shape = (self.series[i].frames, self.image_size, self.image_size, self.channels)
        try:
            return packed.view(self.places[i].path, self.places[i].start, shape)
        except (OSError, ValueError, TypeError) as error:
            reason = errors.no_access(error)
            if reason:
                raise Unreadable(
                    f"{self.places[i].path} cannot be read just now ({reason})."
                ) from None
            raise self._unreadable(i) from None

    def _unreadable(self, i: int) -> Unreadable:
        return Unreadable(
            f'{self.places[i].path}, the frames of the series "{self.series[i].id}", has gone or '
            "changed while it was in use: start again, and it is packed anew."
        )

    def frames(self, i: int, index_L) -> np.ndarray:
        """uint8 [L,H,W,C], a copy of the frames `index_L` of series `i`; reads only these."""
        mapped, frame_THWC = self._frames(int(i))
        # Reading what a file that was cut no longer holds would end the process by a signal.
        if mapped.size() < len(mapped):
            raise self._unreadable(int(i))
        return frame_THWC[index_L]

    def only(self, kept: Sequence[int]) -> "Store":
        """The series at these positions."""
        return Store(
            series=[self.series[k] for k in kept],
            places=[self.places[k] for k in kept],
            table=self.text.iloc[list(kept)],
            older=self.older,
            where=self.where,
            columns=self.columns,
            known_targets=self.known_targets,
            time_unit=self.time_unit,
            image_size=self.image_size,
            channels=self.channels,
            skipped=self.skipped,
            notes=self.notes,
        )

    def split(self, name: str) -> np.ndarray:
        """Positions in `series` of train, val or test."""
        return np.array([k for k, info in enumerate(self.series) if info.split == name], np.int64)

    def targets(self) -> np.ndarray:
        """Float32 [series, K] of data.targets, NaN where missing: numbers, or codes of classes."""
        made_NK = np.zeros((len(self.series), len(self.known_targets)), np.float32)
        for k, target in enumerate(self.known_targets):
            made_NK[:, k], _ = labels(target, self.text, self.where)
        return made_NK

    def class_counts(self) -> tuple[int, ...]:
        """For each of data.targets 0 if it is a regression, else the number of its classes."""
        return tuple(map(len, self.class_names().values()))

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Column of each of data.targets -> the names of its classes, () of a regression."""
        return {t.column: labels(t, self.text, self.where)[1] for t in self.known_targets}

    def outcomes(self) -> np.ndarray | None:
        """Float32 [series, 2] (event, duration), NaN where missing; None when not mapped."""
        if not self.columns["event"]:
            return None
        event_N, duration_N = (
            cells(self.text, self.columns[k], self.where, f"data.columns.{k}").rename(
                self.columns[k]
            )
            for k in ("event", "duration")
        )
        return outcomes(event_N, duration_N, self.where).astype(np.float32)

    def known_before(self, spec: str) -> np.ndarray:
        """Bool [series]: a label or outcome has a value at an older image than the newest."""
        if self.older is None or self.older.empty:
            return np.zeros(len(self.series), bool)
        cell_R = cells(self.older, spec, self.where, "data.columns")
        known = set(cell_R.index[~cell_R.isin(MISSING)])
        return np.array([info.id in known for info in self.series], bool)

    def lost_note(self) -> str:
        """A sentence on the series whose newest image is left out, and with it the row that spoke
        for them; "" where there are none."""
        rows = [info.lost for info in self.series if info.lost is not None]
        if not rows:
            return ""
        return (
            f"{len(rows)} series lost the newest image, the first that of row {rows[0]}: labels "
            "and outcomes are those of the newest image that is left, from which a duration must "
            "count."
        )

    def require_times(self) -> None:
        """UserError for a series of several frames that all carry the same time."""
        for info in self.series:
            if info.frames > 1 and info.time_T[0] == info.time_T[-1]:
                raise UserError(
                    f'{self.where}, row {info.row}: all {info.frames} frames of series "{info.id}" '
                    f"have the time {info.time_T[0]:g} and the method uses times; correct them, or "
                    'set data.on_equal_times="keep".'
                )
