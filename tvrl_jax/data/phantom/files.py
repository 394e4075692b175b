"""Files that are either whole or absent."""

import os
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Writes a file that is either whole or absent, whatever happens in between."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
