"""The limits of an ingest, which a rejection names, and the removal of its folders."""

import shutil
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True)
class IngestLimits:
    """Limits of one ingest, set by the operator and not by clients."""

    upload_bytes: int = 2 * GIB
    unpacked_bytes: int = 16 * GIB  # all members of an archive together
    normalised_bytes: int = 8 * GIB  # images.npy
    members: int = 500_000  # entries of an archive, whatever they are
    images: int = 1_000_000  # rows of arrays and tables
    member_bytes: int = 256 * MIB  # one image file
    pixels: int = 50_000_000  # one image, before it is resized
    classes: int = 1_000
    memory_bytes: int = GIB  # of each process: private memory, not what is mapped from files
    wall_s: int = 3_600
    processes: int = 2  # that decode; 1 decodes in the ingest's own process


def empty_folder(folder: Path) -> None:
    """Remove everything in a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
