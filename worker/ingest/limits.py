"""The bounds of an ingest; a rejection names the limit that an upload passes."""

from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """Bounds of one ingest. The operator sets them, no client does."""

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
