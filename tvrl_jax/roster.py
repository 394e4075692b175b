"""Which series a run learns from, the same on every host and after every resumption.

The order of the data depends on the list of series. It is therefore written into the run's folder
when the run begins, together with what was left out and why, and a run that goes on reads it:
what has become readable since is left out as before, and what is missing now stops the run,
unless bad files are to be skipped (data.on_bad). Then the list is shortened, once for all.
"""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tvrl_jax.data import bundle
from tvrl_jax.data.store import Place, Store
from tvrl_jax.errors import UserError
from tvrl_jax.files import artefacts, run_folder, whole_file
from tvrl_jax.peers import ALONE, Alone

FILE = "roster.json"
LOG = logging.getLogger("tvrl_jax")


class Learnt(NamedTuple):
    """Whom and what a run learned from, whatever became of its table since."""

    patients: frozenset[str] = frozenset()  # none where its list does not tell
    # Hashes, as of `frames`, of all series; none where the list is older than they are, or than the
    # way in which images are decoded now.
    frames: frozenset[str] = frozenset()


def hold(
    folder: Path,
    store: Store,
    began: dict | None,
    *,
    may_shrink: bool,
    may_move: bool = False,
    peers: Alone = ALONE,
) -> Store:
    """The part of the cohort that the run in `folder` began with. Writes nothing.

    began: what `read` told of the run.

    Raises UserError where a series of it is missing, or has another number of frames, unless the
    run `may_shrink`; where a patient went into the training split or out of it, unless one
    `may_move`; and where processes do not see the same series.
    """
    if began:
        store = _restrict(folder, store, dict(map(tuple, began["series"])), may_shrink)
        if not may_move:
            _check_split(folder, store, _learnt(began).patients)
        if _is_decoded_alike(began):
            _tell_changes(store, began.get("content", {}))
    if peers.count > 1 and not peers.agree(_digest(store), lambda found: len(set(found)) == 1):
        raise UserError(
            f"{store.where}: the processes of this run do not see the same series: some host "
            "cannot read a file that others can, or reads another table or other images."
        )
    return store


def refuse_other(folder: Path, began: dict | None) -> None:
    """Raises UserError where the list is not the one read when this run was started."""
    if read(folder) != began:
        raise UserError(
            f"{folder}: another run has been at work there since this one was started; the same "
            "command goes on from what it left."
        )


def _restrict(folder: Path, store: Store, frames_of: dict[str, int], may_shrink: bool) -> Store:
    now = {info.id: info.frames for info in store.series}
    gone = [name for name, frames in frames_of.items() if now.get(name) != frames]
    if gone and not may_shrink:
        what = "has another number of frames" if gone[0] in now else "is no longer there"
        raise UserError(
            f'{store.where}: the series "{gone[0]}" that the run in {folder} began with {what}, as '
            f"{len(gone)} in all; restore it, name another --workdir, or say --resume to go on "
            "without."
        )
    for name in gone:
        LOG.warning('series "%s" is left out from now on: it can no longer be read', name)
    place = {info.id: k for k, info in enumerate(store.series)}
    kept = [place[name] for name, frames in frames_of.items() if now.get(name) == frames]
    more = len(store.series) - len(kept)
    if more:
        LOG.warning("%d series are left out: the run began without them", more)
    return store if kept == list(range(len(store.series))) else store.only(kept)


def _tell_changes(store: Store, before: dict[str, str]) -> None:
    now = _content(store)
    changed = [name for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        LOG.warning(
            'the images or times of %d series, such as "%s", are not those that the run began '
            "with; it goes on with what is there now",
            len(changed),
            changed[0],
        )


def _content(store: Store) -> dict[str, str]:
    """id -> a hash of a series' frames and times."""
    pairs = zip(store.series, store.places, strict=True)
    return {info.id: _hash(place, info.time_T.tobytes()) for info, place in pairs}


def _is_decoded_alike(before: dict) -> bool:
    """Whether the run packed its images as they are packed now: else the same have other hashes."""
    return before.get("decoding") == bundle.VERSION


def frames(store: Store) -> list[str]:
    """A hash of each series' frames, whatever its name and its times. Series of the same files,
    packed with the same settings, have the same."""
    return [_hash(place) for place in store.places]


def _hash(place: Place, more: bytes = b"") -> str:
    """A packed file is named by what it holds."""
    name = f"{os.path.basename(place.path)} {place.start} ".encode()
    return hashlib.sha256(name + more).hexdigest()[:16]


def _check_split(folder: Path, store: Store, learnt: frozenset[str]) -> None:
    moved = [i for i in store.series if (i.split == "train") != (i.subject in learnt)]
    if learnt and moved:
        one = moved[0]
        verb = "learned" if one.subject in learnt else "has not learned"
        drawn = "restore the split"
        if not store.columns["split"]:
            drawn = (
                "the split is drawn from the patients of the table, and one more or less draws "
                "another: restore the table and data.split_*"
            )
        raise UserError(
            f'{store.where}, row {one.row}: patient "{one.subject}" is in the {one.split} split '
            f"now, and the run in {folder} {verb} from this patient; {drawn}, name another "
            "--workdir, or say --resume to go on all the same."
        )


def write(folder: Path, store: Store) -> None:
    """The list as the run goes on with it. Atomic."""
    before = read(folder)
    now = {info.subject for info in store.series if info.split == "train"}
    own, past = zip(store.series, frames(store), strict=True), _learnt(before)
    shown = {held for info, held in own if info.split == "train"}
    content = {
        "series": [[info.id, info.frames] for info in store.series],
        "skipped": [list(one) for one in _skipped(before, store)],
        "trained": sorted(past.patients | now),
        "trained_frames": sorted(past.frames | shown),
        "decoding": bundle.VERSION,
        "content": _content(store),
    }
    text = json.dumps(content, indent=0) + "\n"
    whole_file.write(folder / FILE, text)


def _skipped(before: dict | None, store: Store) -> list[Sequence]:
    """Row, path and reason of all that was ever left out."""
    known = {tuple(one) for one in (before["skipped"] if before else ())}
    return sorted(known | {tuple(one) for one in store.skipped})


def learnt(folder: Path) -> Learnt:
    """What the run in a folder learned from."""
    return _learnt(read(folder))


def _learnt(before: dict | None) -> Learnt:
    if not before:
        return Learnt()
    frames = before.get("trained_frames", ()) if _is_decoded_alike(before) else ()
    return Learnt(frozenset(before.get("trained", ())), frozenset(frames))


def read(folder: Path) -> dict | None:
    """What `write` wrote; None for a run that has no checkpoint yet, or is older than lists are."""
    if not run_folder.is_begun(folder):
        return None
    artefacts.check_file(folder / FILE)
    try:
        content = json.loads((folder / FILE).read_text())
        _check(content["series"], (str, int))
        _check(content["skipped"], (int, str, str))
        for key in ("trained", "trained_frames"):
            _check([[name] for name in content.get(key, ())], (str,))
        _check(list(content.get("content", {}).items()), (str, str))
        return content
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{folder / FILE} cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"{folder / FILE} is not the list of series that a run wrote; remove it to go on with "
            "the series that are there now."
        ) from None


def _check(rows: list[list], kinds: tuple[type, ...]) -> None:
    """Raises ValueError or TypeError unless each row holds values of these kinds."""
    for row in rows:
        if any(type(value) is not kind for value, kind in zip(row, kinds, strict=True)):
            raise ValueError(row)


def _digest(store: Store) -> str:
    """Of all that a process reads: series, patients, splits, images, times and labels."""
    content = _content(store)
    names = [[i.id, i.subject, i.split, i.frames, content[i.id]] for i in store.series]
    digest = hashlib.sha256(json.dumps([names, store.class_names()]).encode())
    digest.update(store.targets().tobytes())
    return digest.hexdigest()
