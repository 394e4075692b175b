"""Whether a checkpoint is what was saved: its parts, its leaves and their checksums."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from tvrl_jax.checkpoint import digest

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


def verify(tree, meta: dict, agree: Callable) -> None:
    """Raises Corrupt if a leaf of `tree` is not the one whose checksum `meta` holds.

    Orbax itself does not notice a flipped bit. `agree`: of the processes that share the arrays, all
    of which come to the same end.
    """
    want = meta.get("checksums", {})
    if any(
        " " not in known for known in want.values()
    ):  # before arrays could lie on many processes
        found = checksums(jax.device_get(tree))
    else:
        found = digest.checksums(named(tree), agree)
    wrong = [name for name, sums in found.items() if want.get(name) != sums]
    if wrong:
        raise Corrupt(f"{wrong[0]} is not what was saved, by its checksum")


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
    """What `read` makes of the checkpoint in `folder`. Raises Corrupt when it fails."""
    absent = [part for part in PARTS if not (folder / part).is_dir()]
    if absent:
        raise Corrupt(f"it lacks {' and '.join(absent)}")
    try:
        with quiet():
            return read()
    except Corrupt:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
        first = re.sub(r"<.*?>|\s+", " ", str(error).strip().split("\n")[0])[:120].strip(" :.")
        raise Corrupt(f"its files cannot be read: {type(error).__name__} {first}") from error


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
