"""What is known of files from an earlier start, so that gigabytes are not hashed each time.

A file counts as unchanged while its size, inode and times are the same: of its modification, which
programs may set back, and of its last change of any kind, which they cannot. So a new mode or link
costs a hash. A file that was modified moments before it was looked at is never remembered: it might
change again unseen.
"""

import hashlib
import json
import os
import time
from contextlib import suppress

from tvrl_jax.files import whole_file

SETTLED = 2.0  # seconds; coarser than the clock of any file system in use

Ledger = dict[str, list]  # path -> [signature, what was found]


def load(path: str) -> Ledger:
    """Empty when there is none, or when it is damaged: everything is then looked at again."""
    try:
        with open(path, encoding="utf-8") as file:
            ledger = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    kept = ledger.items() if isinstance(ledger, dict) else ()
    return {path: known for path, known in kept if isinstance(known, list) and len(known) == 2}


def save(path: str, ledger: Ledger) -> None:
    """Atomic; of two processes the later one wins. It only saves time, so failing is no error."""
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        whole_file.write(path, json.dumps(ledger), sync=False, shared=True)


def signature(path: str) -> list:
    """[[name, size, time of modification, of any change, inode], ...] of a file, or of all files in
    a folder."""
    names = [path]
    if os.path.isdir(path):
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        names = [entry.path for entry in entries if entry.is_file()]
    found = [(name, os.stat(name)) for name in names]
    return [
        [name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        for name, stat in found
    ]


def remember(
    ledger: Ledger, path: str, seen: list, fact: str | int, *, settled: float = SETTLED
) -> None:
    """`settled`: seconds for which the file must have been left alone."""
    newest = max((entry[2] for entry in seen), default=0)
    if time.time() - newest / 1e9 >= settled:
        ledger[path] = [seen, fact]


def recall(ledger: Ledger, path: str, seen: list) -> str | int | None:
    known = ledger.get(path)
    return known[1] if known and known[0] == seen else None


def content_hash(path: str, ledger: Ledger) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files. Raises OSError."""
    seen = signature(path)
    known = recall(ledger, path, seen)
    if isinstance(known, str):
        return known
    digest = hashlib.sha256()
    for name, *_ in seen:
        with open(name, "rb") as file:
            content = hashlib.file_digest(file, "sha256")
        label = os.path.basename(name) if name != path else ""
        digest.update(label.encode(errors="surrogateescape") + b"\0" + content.digest())
    remember(ledger, path, seen, digest.hexdigest())
    return digest.hexdigest()
