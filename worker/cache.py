"""Datasets on this machine's disk, by content address."""

import os
import shutil
import tempfile
from pathlib import Path

from models.arrays import FILES
from models.blobs import Blobs


def dataset_folder(blobs: Blobs, sha256: str, cache: Path) -> Path:
    """A folder that holds the dataset in the internal format, to be mapped and never written.

    A local blob store is used in place; from a remote one the files are copied once into `cache`.

    Raises:
        BlobMissing: if the store does not have it.
        StorageUnavailable: if the store does not answer.
    """
    prefix = f"datasets/{sha256}"
    in_place = blobs.local_folder(prefix)
    if in_place is not None:
        for name in FILES:
            blobs.size(f"{prefix}/{name}")
        return in_place
    target = cache / sha256
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{sha256[:12]}-", dir=cache))
    try:
        for name in FILES:
            blobs.fetch(f"{prefix}/{name}", partial / name)
        try:
            os.rename(partial, target)
        except OSError:
            # Another process was faster; its copy has the same content.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
