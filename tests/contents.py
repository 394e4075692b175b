"""What a folder holds."""

import hashlib
from pathlib import Path


def digests(folder: Path) -> dict[str, str]:
    """Path below the folder -> SHA-256 of the file."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
