"""Files and folders on disk: written whole, locked, checked and never run as code."""
