"""The jobs that find wrong labels of datasets: who is given one, which one is a dataset's, and how one ends well."""

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from heldout.lifecycle.dataset import DatasetStatus, SuspectsStatus
from heldout.lifecycle.job import JobStatus
from heldout.work.kinds import JobKind, SuspectSpec
from models.digests import FileDigest
from models.store import file_digests, new_jobs, quotas
from models.store.claims import HeldAttempt, complete
from models.store.new_jobs import NewJob
from models.store.relations import NOBODY
from models.tables import DatasetRow, JobRow


def queue(
    session: Session, owner: str, dataset_id: str, *, again: bool = False, is_lost: bool = False
) -> JobRow | None:
    """Queue the job that finds a dataset's wrong labels, for the owner who asks.

    None if the dataset is not ready, or has had such a job before.

    Args:
        again: queue one also after one that failed.
        is_lost: queue one also after one whose result is no longer stored as it was.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    if owner != NOBODY:
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


def queue_unasked(session: Session, dataset_id: str) -> JobRow | None:
    """Queue the same job for nobody, for a new version; None if it has the content of an earlier one."""
    is_known = session.scalar(select(DatasetRow.same_as.is_not(None)).where(DatasetRow.id == dataset_id))
    return None if is_known else queue(session, NOBODY, dataset_id)


def find_newest_job(session: Session, dataset_id: str) -> JobRow | None:
    """The last job that was to find the dataset's wrong labels."""
    return session.scalars(
        select(JobRow)
        .where(JobRow.dataset_id == dataset_id, JobRow.kind == JobKind.SUSPECT)
        .order_by(JobRow.id.desc())
        .limit(1)
    ).one_or_none()


def mark_stored(
    session: Session, held: HeldAttempt, dataset_id: str, digests: Mapping[str, FileDigest] = MappingProxyType({})
) -> JobStatus:
    """End the job well, unless it was cancelled: the dataset's suspected labels are in the blob store.

    A second call changes nothing: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        digests: of their file, by its key.
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
