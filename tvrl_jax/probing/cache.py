"""Arrays on disk, found again by a hash of everything that they depend on."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tvrl_jax.checkpoint import checksums
from tvrl_jax.files import artefacts, whole_file


def place(folder: str, **depends) -> Path:
    """The file for these dependencies (plain JSON values); any change is another file."""
    text = json.dumps(depends, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    return Path(folder).expanduser() / f"{name}.npz"


def of_tree(tree) -> str:
    """Hash of the values of a parameter tree."""
    return hashlib.sha256(json.dumps(checksums(tree), sort_keys=True).encode()).hexdigest()


def of_series(store, series) -> str:
    """Hash of the names, times, order and pixels of the series.

    A packed file is named by the content of the images it came from and by how they were decoded,
    so its name stands for the pixels, wherever the store lies.
    """
    digest = hashlib.sha256()
    for i in series:
        info, packed = store.series[i], store.places[i]
        digest.update(f"{info.id}|{info.frames}|{Path(packed.path).name}|{packed.start}".encode())
        digest.update(np.ascontiguousarray(info.time_T, np.float64).tobytes())
    return digest.hexdigest()


def read_or_make(
    path: Path, make: Callable[[], Mapping[str, np.ndarray]], say: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """The arrays of the file; where it is absent or damaged they are made, and the file written."""
    if path.is_file():
        try:
            return _read(path)
        except Exception as error:  # a damaged zip file raises some ten kinds
            say(f"{path} is damaged ({type(error).__name__}: {error}); computing it again.")
    arrays = dict(make())
    write(path, arrays)
    return arrays


def _read(path: Path) -> dict[str, np.ndarray]:
    # numpy trusts a header before its checksum is seen, so the checksums come first.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken:
        raise ValueError(f"bad checksum of {broken}")
    return artefacts.read_arrays(path)


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """One .npz file, there in whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.writing(path, binary=True, shared=True) as file:
        np.savez(file, **arrays)
