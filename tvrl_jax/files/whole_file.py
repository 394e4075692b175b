"""Files that are either whole or absent, whatever happens in between."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PART = ".part"  # how the name of an unfinished file ends; it begins with a dot
ABANDONED_S = 86400


@contextmanager
def writing(
    path: str | Path, *, binary: bool = False, sync: bool = True, shared: bool = False
) -> Iterator[IO]:
    """A file beside `path` that takes its place at the end of the block; after an error, none does.

    Text is UTF-8 with line ends as they are written.

    Args:
      sync: wait for the disk before, so that not even a loss of power leaves half a file; many
        small files that can be made again do without.
      shared: others may write the same file at the same time. If not, what a process left that was
        killed is written over.
    """
    path = Path(path)
    who = f".{os.getpid()}-{threading.get_ident()}" if shared else ""
    part = path.with_name(f".{path.name}{who}{PART}")
    how = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8", "newline": ""}
    try:
        with part.open(**how) as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(
    path: str | Path, content: str | bytes, *, sync: bool = True, shared: bool = False
) -> None:
    """Writes all of a file at once, as `writing` does."""
    with writing(path, binary=isinstance(content, bytes), sync=sync, shared=shared) as file:
        file.write(content)


def sweep(folder: str | Path) -> None:
    """Removes what killed writers left in a shared folder: parts that nobody touched for a day."""
    for path in Path(folder).glob(f".*{PART}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()
