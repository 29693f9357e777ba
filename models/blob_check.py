"""Compares rows with the blob store in both directions, to find missing, damaged and orphaned files."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from analysis.arrays.dataset import read_content_address
from heldout.errors import ArtifactDamaged, DatasetDamaged
from models.blob_files import open_blob
from models.blobs import BlobMissing, Blobs, StoredBlob
from models.database import Database
from models.digests import DATASET_FILES, FileDigest
from models.store import file_digests, named_blobs
from models.store.named_blobs import KnownFolders, NamedBlob, StoredContent

# A file is stored shortly before the row that names it is committed, or long before if the database is unreachable.
YOUNG = timedelta(hours=1)
# Folders that this service writes. Files elsewhere are ignored.
OURS = ("jobs", "studies", "datasets", "uploads", "models")
CHECK_PREFIX = "check-"


@dataclass(frozen=True)
class Fault:
    """A file that a row names, but that is missing or differs from the row."""

    key: str
    what: str  # for people: `the model of job_…`
    why: str  # `missing`, `damaged`


@dataclass
class BlobCheck:
    """The result of a comparison. `orphans` belong to no row and may be deleted.

    fixed, collected: the faults that were fixed since, and how many files were deleted.
    """

    faults: list[Fault] = field(default_factory=list)
    faulty_contents: list[StoredContent] = field(default_factory=list)
    orphans: list[StoredBlob] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    fixed: list[Fault] = field(default_factory=list)
    collected: int = 0

    @property
    def is_fine(self) -> bool:
        """Whether every file that a row names is there and undamaged."""
        return not self.faults


def compare(database: Database, blobs: Blobs, *, young: timedelta = YOUNG) -> BlobCheck:
    """Check every file that a row names, and list every file that no row names.

    Args:
        young: files stored more recently than this are not orphans, because their rows may not be committed yet.
    Raises:
        DatabaseUnavailable, StorageUnavailable.
    """
    stored = {blob.key: blob for blob in blobs.stored()}
    found = BlobCheck(files=len(stored), bytes=sum(blob.size_bytes for blob in stored.values()))
    with database.read() as session:
        named = {named_blob.key: named_blob for named_blob in named_blobs.iterate_named(session)}
        contents = named_blobs.list_contents(session)
        digests = file_digests.get_digests_of_datasets(session)
        places = named_blobs.get_places(session)
    faults = [fault for named_blob in named.values() if (fault := _find_fault(blobs, named_blob)) is not None]
    of_contents = {
        content: fault for content in contents if (fault := _find_content_fault(blobs, content, digests)) is not None
    }
    # Rows that changed during the check cause neither faults nor orphans.
    with database.read() as session:
        still_named = named_blobs.list_keys(session)
        still_contents = {named_blob.sha256 for named_blob in named_blobs.list_contents(session)}
        places_now = named_blobs.get_places(session)
    found.faults = [fault for fault in faults if fault.key in still_named]
    for content, fault in of_contents.items():
        if content.sha256 in still_contents:
            found.faults.append(fault)
            found.faulty_contents.append(content)
    before = datetime.now(UTC) - young
    found.orphans = [
        blob
        for blob in stored.values()
        if blob.stored_at <= before
        and blob.key not in named
        and blob.key not in still_named
        and is_orphan(blob.key, places)
        and is_orphan(blob.key, places_now)
    ]
    return found


def is_orphan(key: str, places: KnownFolders) -> bool:
    """Return whether a file that no row names belongs to nothing that still exists."""
    room, _, rest = key.partition("/")
    place, separator, _ = rest.partition("/")
    if not separator:
        return key.startswith(CHECK_PREFIX)
    belongs = {
        "jobs": place in places.open_jobs,
        "studies": place in places.studies,
        "datasets": place in places.datasets or place in places.contents,
        "uploads": place in places.uploading,
        # A model has one file, named by its row. Others were left by a broken upload or a deletion.
        "models": False,
    }
    return not belongs.get(room, True)


def _find_fault(blobs: Blobs, named_blob: NamedBlob) -> Fault | None:
    key, expected = named_blob.key, named_blob.digest
    is_whole = True
    try:
        if expected is None:
            blobs.size(key)
            is_whole = _can_be_opened(blobs, key)
        else:
            blobs.require_whole(key, expected)
    except BlobMissing:
        return Fault(key, named_blob.what, "missing")
    except (DatasetDamaged, ArtifactDamaged):
        is_whole = False
    return None if is_whole else Fault(key, named_blob.what, "damaged")


def _can_be_opened(blobs: Blobs, key: str) -> bool:
    """Return whether a file without a stored digest is valid according to its format."""
    try:
        if key.endswith(".json"):
            json.loads(blobs.read(key))
        elif key.endswith(".npz"):
            with zipfile.ZipFile(io.BytesIO(blobs.read(key))) as file:
                return file.testzip() is None
    except (ValueError, EOFError, zipfile.BadZipFile):
        return False
    return True


def _find_content_fault(blobs: Blobs, content: StoredContent, digests: Mapping[str, FileDigest]) -> Fault | None:
    """Find the fault of the first file that differs from what was stored."""
    folder = f"datasets/{content.sha256}"
    for key in content.keys:
        what = f"{DATASET_FILES[key.rpartition('/')[2]]} of {content.name}"
        if (fault := _find_fault(blobs, NamedBlob(key, what, digests.get(key)))) is not None:
            return replace(fault, key=folder)
    if all(key in digests for key in content.keys):
        return None
    try:
        is_whole = read_content_address(lambda name: open_blob(blobs, f"{folder}/{name}")) == content.sha256
    except ValueError:
        is_whole = False
    return None if is_whole else Fault(folder, f"the images of {content.name}", "damaged")
