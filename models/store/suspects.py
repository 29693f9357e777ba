"""Queues, finds and ends the jobs that find wrong labels in a dataset."""

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import DatasetStatus, SuspectsStatus
from heldout.work.kinds import JobKind, SuspectSpec
from models.digests import FileDigest
from models.store import file_digests, new_jobs, quotas
from models.store.claims import HeldAttempt, complete
from models.store.new_jobs import NewJob
from models.store.relations import NO_OWNER
from models.tables import DatasetRow, JobRow


def queue(
    session: Session, owner: str, dataset_id: str, *, again: bool = False, is_lost: bool = False
) -> JobRow | None:
    """Queue the job that finds a dataset's wrong labels, for the requesting owner.

    None if the dataset is not ready, or has had such a job before.

    Args:
        again: also queue it if the last search failed.
        is_lost: also queue it if the last result is no longer stored intact.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    if owner != NO_OWNER:
        quotas.require_room(session, owner, *quotas.OF_NEW_JOBS)
    repeatable = [SuspectsStatus.FAILED] * again + [SuspectsStatus.STORED] * is_lost
    queued = session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id, DatasetRow.status == DatasetStatus.READY)
        .where(
            DatasetRow.deleted_at.is_(None),
            or_(DatasetRow.suspects_status.is_(None), DatasetRow.suspects_status.in_(repeatable)),
        )
        .values(suspects_status=SuspectsStatus.QUEUED)
        .returning(DatasetRow.name, DatasetRow.version)
    ).one_or_none()
    if queued is None:
        return None
    name = f"{queued.name}@{queued.version}"
    return new_jobs.add(session, NewJob(spec=SuspectSpec(), owner=owner, name=name, dataset_id=dataset_id))


def queue_internally(session: Session, dataset_id: str) -> JobRow | None:
    """Queue the job as an internal one, for a new version. None if the version has the content of an earlier one."""
    is_known = session.scalar(select(DatasetRow.same_as.is_not(None)).where(DatasetRow.id == dataset_id))
    return None if is_known else queue(session, NO_OWNER, dataset_id)


def find_newest_job(session: Session, dataset_id: str) -> JobRow | None:
    """Find the last job that searched for the dataset's wrong labels."""
    return session.scalars(
        select(JobRow)
        .where(JobRow.dataset_id == dataset_id, JobRow.kind == JobKind.SUSPECT)
        .order_by(JobRow.id.desc())
        .limit(1)
    ).one_or_none()


def mark_stored(
    session: Session, held: HeldAttempt, dataset_id: str, digests: Mapping[str, FileDigest] = MappingProxyType({})
) -> JobStatus:
    """End the job as succeeded, unless it was cancelled. The suspected labels must be in the blob store.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        digests: the digest of their file, by key.
    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    status = complete(session, held)
    if status is JobStatus.SUCCEEDED:
        file_digests.note(session, digests)
        session.execute(
            update(DatasetRow).where(DatasetRow.id == dataset_id).values(suspects_status=SuspectsStatus.STORED)
        )
    return status
