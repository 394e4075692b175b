"""Whether a checkpoint is what was saved: its parts, its leaves and their checksums."""

import hashlib
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from tvrl_jax.checkpoint import digest
from tvrl_jax.errors import UserError, no_access, no_memory
from tvrl_jax.files import artefacts

SEAL = "sealed"  # in what is saved beside the state: the checksum of the rest of it
PARTS = ("state", "meta")  # folders of a checkpoint


class Restored(NamedTuple):
    step: int
    tree: Any
    meta: dict  # what was given to `save`


class Corrupt(Exception):
    """A checkpoint that cannot be read, or whose content is not what was saved; says why."""


def checksums(tree) -> dict[str, str]:
    """SHA-256 of the shape, dtype and bytes of each leaf, a host array."""
    return {name: _digest(leaf) for name, leaf in named(tree)}


def named(tree) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    # Names without brackets or dots: a field of a NamedTuple comes back as a key of a dict.
    return [(jax.tree_util.keystr(p, simple=True, separator="/"), leaf) for p, leaf in leaves]


def _digest(leaf) -> str:
    array = np.ascontiguousarray(leaf)
    digest = hashlib.sha256(f"{array.shape}{array.dtype}".encode())
    digest.update(array.view(np.uint8).reshape(-1) if array.size else b"")
    return digest.hexdigest()


def sealed(meta: dict) -> dict:
    """`meta` with a checksum of its own."""
    return {**meta, SEAL: _seal(meta)}


def _seal(meta: dict) -> str:
    rest = {key: value for key, value in meta.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def verify(tree, meta: dict, agree: Callable) -> None:
    """Raises Corrupt if a leaf of `tree` is not the one whose checksum `meta` holds, or if `meta`
    is not what was sealed (the checkpoints of earlier versions bear no seal).

    Orbax itself does not notice a flipped bit. `agree`: of the processes that share the arrays, all
    of which come to the same end.
    """
    broken = meta.get(SEAL, _seal(meta)) != _seal(meta)
    if agree(broken, any):
        raise Corrupt("what was saved beside its arrays is not what it was, by its checksum")
    want, found = meta.get("checksums", {}), digest.checksums(named(tree), agree)
    wrong = [name for name, sums in found.items() if want.get(name) != sums]
    if wrong:
        raise Corrupt(f"{wrong[0]} is not what was saved, by its checksum")


def metrics(place: Path) -> dict:
    """What a checkpoint was rated with; empty where that is gone.

    Raises Corrupt if it cannot be read or is not what was sealed; UserError if it may not be read.
    """
    file = place / "metrics" / "metrics"
    if not file.exists():
        return {}
    try:
        found = json.loads(artefacts.read_text(file))
    except (UserError, ValueError, RecursionError) as error:
        if no_access(error):
            raise
        raise Corrupt("its metrics cannot be read") from error
    # Reading the checkpoint will tell.
    with suppress(UserError, ValueError, AttributeError, RecursionError):
        meta = json.loads(artefacts.read_text(place / "meta" / "metadata"))
        if meta.get("metrics", found) != found:
            raise Corrupt("its metrics are not what was saved")
    return found


def shapes(metadata):
    """The tree of shapes in Orbax's metadata of a state, which is None when it cannot be read."""
    if metadata is None:
        raise Corrupt("its arrays cannot be read")
    return metadata.tree


def steps(folder: Path) -> list[int]:
    """The steps that a folder holds checkpoints of, whole or not."""
    children = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(c.name) for c in children if c.name.isdecimal() and c.is_dir())


def attempt(read: Callable[[], Any], folder: Path):
    """What `read` makes of the checkpoint in `folder`. Raises Corrupt when it fails.

    What is no fault of the checkpoint stays what it is (too little memory), or is a UserError (it
    may not be read, or its file server is away).
    """
    absent = [part for part in PARTS if not (folder / part).is_dir()]
    if absent:
        raise Corrupt(f"it lacks {' and '.join(absent)}")
    other = [path for path in folder.rglob("*") if not (path.is_file() or path.is_dir())]
    if other:  # Orbax would wait for a pipe, and read a device to its end
        raise Corrupt(f"{other[0].relative_to(folder)} is no file")
    try:
        with quiet():
            return read()
    except Corrupt:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
        if no_memory(error):
            raise
        if reason := no_access(error):
            raise UserError(
                f"{folder} cannot be read now ({reason}); it was left alone."
            ) from error
        first = re.sub(r"<.*?>|\s+", " ", str(error).strip().split("\n")[0])[:120].strip(" :.")
        raise Corrupt(f"its files cannot be read: {type(error).__name__} {first}") from error


def hush() -> None:
    """From now on the echoes of a failed reading or writing are left out. Each of Orbax's threads
    prints its own traceback, and each array's that reaches an event loop which Orbax has closed, or
    a task that it has forgotten. The error itself comes to the caller all the same."""
    for name in ("asyncio", "absl"):
        logging.getLogger(name).addFilter(_is_no_echo)
    before = sys.unraisablehook
    if getattr(before, "hushes", False):
        return

    def hook(unraisable) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    hook.hushes = True
    sys.unraisablehook = hook


def _is_no_echo(record: logging.LogRecord) -> bool:
    forgotten = "never retrieved" in record.getMessage() and "orbax" in record.getMessage()
    return not forgotten and not (record.exc_info and "orbax" in record.pathname)


@contextmanager
def quiet() -> Iterator[None]:
    """Orbax warns of what the sentence that follows says better."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
