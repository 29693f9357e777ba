"""Ends an ingest: reserves the content's address, then marks the dataset as ready or rejects it."""

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from analysis.arrays.columns import make_columns_key
from heldout.lifecycle.job import JobEvent, JobStatus, StopReason
from heldout.lifecycle.resources import DatasetEvent, DatasetStatus, RelationsStatus
from heldout.stored.audit import IngestedContent
from heldout.work.kinds import LISTED_KINDS
from models.digests import FileDigest
from models.store import file_digests, jobs, quotas, statements
from models.store.claims import HeldAttempt, has_succeeded, require_held
from models.store.datasets import move_datasets
from models.store.transitions import move
from models.tables import DatasetRow, JobRow


def reserve_content(
    session: Session,
    held: HeldAttempt,
    dataset_id: str,
    sha256: str,
    *,
    size_bytes: int = 0,
    beside_bytes: int = 0,
) -> None:
    """Note the content address and the size of a dataset before its files are stored.

    From then on, the files at that address are not removed, and count toward the owner's quota.

    Args:
        beside_bytes: the size of the files that belong only to this dataset. They count instead of its upload.

    Raises:
        LeaseLost: if this attempt no longer holds the ingest.
        QuotaExceeded: if the owner may not store that many bytes.
    """
    # Before other locks, in the same order as requests.
    owner = session.scalar(select(DatasetRow.owner).where(DatasetRow.id == dataset_id))
    quotas.require_bytes(session, owner or "", dataset_id, size_bytes + beside_bytes)
    statements.lock(session, "content", sha256)
    require_held(session, held)
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id)
        .values(sha256=sha256, size_bytes=size_bytes, beside_bytes=beside_bytes)
    )


def mark_ready(
    session: Session,
    held: HeldAttempt,
    dataset_id: str,
    content: IngestedContent,
    files: Mapping[str, FileDigest] = MappingProxyType({}),
) -> JobStatus:
    """End an ingest as succeeded, unless it was cancelled. The dataset becomes ready, or stands for an earlier version.

    All its files, including relations, must be in the blob store.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        files: the digests of all its files by key.
    Raises:
        LeaseLost: if this attempt no longer holds the ingest.
    """
    if has_succeeded(session, held):
        return JobStatus.SUCCEEDED
    job = require_held(session, held)
    # The same content may arrive twice at once.
    statements.lock(session, "dataset", job.owner, job.name.partition("@")[0])
    status = move(session, job, JobEvent.SUCCEED, stop_reason=StopReason.COMPLETED)
    if status is not JobStatus.SUCCEEDED:
        return status
    file_digests.note(session, files)
    row = session.get_one(DatasetRow, dataset_id)
    same = select(DatasetRow.id).where(
        DatasetRow.owner == row.owner,
        DatasetRow.name == row.name,
        DatasetRow.status == DatasetStatus.READY,
        DatasetRow.same_as.is_(None),
        DatasetRow.deleted_at.is_(None),
        DatasetRow.sha256 == content.sha256,
        DatasetRow.id != row.id,
    )
    # A version stands for an earlier one only if that one has its columns, too.
    columns = file_digests.find(session, make_columns_key(dataset_id))
    same_as = next(
        (
            earlier
            for earlier in session.scalars(same.order_by(DatasetRow.version))
            if columns is None or file_digests.find(session, make_columns_key(earlier)) == columns
        ),
        None,
    )
    message = "Ready to train on." if same_as is None else "Ready to train on. An earlier version has the same content."
    move_datasets(
        session,
        row.status,
        DatasetEvent.ACCEPT,
        DatasetRow.id == dataset_id,
        message=message,
        data={"same_as": same_as},
        same_as=same_as,
        sha256=content.sha256,
        size_bytes=content.size_bytes,
        shape=list(content.shape),
        dtype=content.dtype,
        value_range=list(content.value_range),
        classes=list(content.classes),
        splits=content.splits,
        different=[list(pair) for pair in content.different] or None,
        relations_status=RelationsStatus.STORED,
    )
    return status


def find_ingest_position(session: Session, dataset_id: str) -> int | None:
    """Find the position of a dataset's ingest among its owner's jobs. None unless it is queued."""
    queued = select(JobRow).where(
        JobRow.dataset_id == dataset_id, JobRow.kind.not_in(LISTED_KINDS), JobRow.status == JobStatus.QUEUED
    )
    row = session.scalars(queued.order_by(JobRow.id).limit(1)).first()
    ahead = None if row is None else jobs.count_ahead_of(session, row)
    return None if ahead is None else ahead + 1
