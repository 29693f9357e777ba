"""The folder that an ingest writes into, for the process that writes and for the one that waits for it."""

import shutil
from pathlib import Path


def empty(folder: Path) -> None:
    """Remove all that is in a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
