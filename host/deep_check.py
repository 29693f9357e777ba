"""`heldout check --deep`: rows against files, both ways; puts bundled datasets right, and deletes orphans when told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from heldout.errors import OperatorError
from models.blob_check import YOUNG, Fault, compare
from models.blobs import Blobs, StoredBlob
from models.bundled import store_again
from models.database import Database
from models.store import relations

# Up to so many orphans are deleted whatever their share of the store is.
FEW_ORPHANS = 100


@dataclass
class DeepCheck:
    """What was found and done. `is_fine` tells whether every file that a row names is there and whole."""

    files: int
    bytes: int
    faults: list[Fault] = field(default_factory=list)
    mended: list[Fault] = field(default_factory=list)
    orphans: list[StoredBlob] = field(default_factory=list)
    collected: int = 0

    @property
    def is_fine(self) -> bool:
        return not self.faults


def check_deep(
    database: Database, blobs: Blobs, operator_files: Path, *, collect: bool, young: timedelta = YOUNG
) -> DeepCheck:
    """Compare, mend bundled datasets, and delete orphans if `collect`.

    Raises:
        OperatorError: so much would be deleted that it cannot be meant.
        DatabaseUnavailable, StorageUnavailable.
    """
    found = compare(database, blobs, young=young)
    faults = {fault.key: fault for fault in found.faults}
    mended = []
    for content in found.faulty_contents:
        if content.bundled is not None and store_again(
            database, blobs, content.bundled, content.sha256, operator_files
        ):
            mended.append(faults.pop(f"datasets/{content.sha256}"))
    with database.write() as session:
        for key in relations.queue_lost_of_bundled(session, list(faults)):
            mended.append(faults.pop(key))
    done = DeepCheck(found.files, found.bytes, list(faults.values()), mended, found.orphans)
    if collect:
        if len(found.orphans) > max(FEW_ORPHANS, found.files // 2):
            raise OperatorError(
                f"{len(found.orphans):,} of {found.files:,} files belong to nothing that the database knows: perhaps "
                "it is another service's store, or an old database. Nothing was deleted. Check HELDOUT_BLOBS."
            )
        for orphan in found.orphans:
            blobs.delete(orphan.key)
        done.collected = len(found.orphans) + blobs.delete_partial(datetime.now(UTC) - young)
    return done
