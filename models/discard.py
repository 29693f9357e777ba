"""Removes from the blob store the files of deleted and rejected datasets, and uploads that are no longer needed."""

import structlog

from heldout.errors import StorageUnavailable
from models.blobs import Blobs
from models.database import Database
from models.store import discards, file_digests
from models.store.discards import DiscardedDataset

log = structlog.get_logger()


def discard_files(database: Database, blobs: Blobs) -> None:
    """Remove the files of some discarded datasets; several processes may do so at once.

    What fails is tried again at the next call.

    Raises:
        DatabaseUnavailable.
    """
    with database.read() as session:
        found = discards.discarded(session)
    for one in found:
        try:
            _discard(database, blobs, one)
        except StorageUnavailable:
            log.warning("files_not_deleted", dataset_id=one.id)


def _discard(database: Database, blobs: Blobs, one: DiscardedDataset) -> None:
    with database.write() as session:
        if discards.is_still_needed(session, one.id):
            return
        sha256 = discards.release_files(session, one)
        blobs.delete_all(f"uploads/{one.id}")
        if one.is_deleted:
            blobs.delete_all(f"datasets/{one.id}")
            file_digests.forget(session, f"datasets/{one.id}")
        if sha256 is not None:
            blobs.delete_all(f"datasets/{sha256}")
            file_digests.forget(session, f"datasets/{sha256}")
