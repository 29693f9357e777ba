"""Queues, finds and ends the jobs that search a dataset in the background: for wrong labels, or for its features."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import DatasetStatus, SearchStatus
from heldout.work.kinds import FeaturesSpec, JobKind, SuspectSpec, WorkSpec
from models.digests import FileDigest
from models.store import file_digests, new_jobs, quotas
from models.store.claims import HeldAttempt, complete
from models.store.new_jobs import NewJob
from models.store.relations import NO_OWNER
from models.tables import DatasetRow, JobRow


@dataclass(frozen=True)
class Search:
    """A kind of search, and the column of a dataset that says whether its result is known."""

    kind: JobKind
    column: str
    spec: WorkSpec

    @property
    def status(self) -> Any:
        """The column, for statements."""
        return getattr(DatasetRow, self.column)


SUSPECTS = Search(JobKind.SUSPECT, "suspects_status", SuspectSpec())
FEATURES = Search(JobKind.FEATURES, "features_status", FeaturesSpec())
SEARCHES = (SUSPECTS, FEATURES)


def queue(
    session: Session, search: Search, owner: str, dataset_id: str, *, again: bool = False, is_lost: bool = False
) -> JobRow | None:
    """Queue the job that searches a dataset, for the requesting owner.

    None if the dataset is not ready, or has had such a job before.

    Args:
        again: also queue it if the last search failed.
        is_lost: also queue it if the last result is no longer stored intact.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    if owner != NO_OWNER:
        quotas.require_room(session, owner, *quotas.OF_NEW_JOBS)
    repeatable = [SearchStatus.FAILED] * again + [SearchStatus.STORED] * is_lost
    queued = session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id, DatasetRow.status == DatasetStatus.READY)
        .where(
            DatasetRow.deleted_at.is_(None),
            or_(search.status.is_(None), search.status.in_(repeatable)),
        )
        .values({search.status: SearchStatus.QUEUED})
        .returning(DatasetRow.name, DatasetRow.version)
    ).one_or_none()
    if queued is None:
        return None
    name = f"{queued.name}@{queued.version}"
    return new_jobs.add(session, NewJob(spec=search.spec, owner=owner, name=name, dataset_id=dataset_id))


def queue_internally(session: Session, search: Search, dataset_id: str) -> JobRow | None:
    """Queue the job as an internal one, for a new version. None if the version has the content of an earlier one."""
    is_known = session.scalar(select(DatasetRow.same_as.is_not(None)).where(DatasetRow.id == dataset_id))
    return None if is_known else queue(session, search, NO_OWNER, dataset_id)


def find_newest_job(session: Session, search: Search, dataset_id: str) -> JobRow | None:
    """Find the last job of this search through the dataset."""
    return session.scalars(
        select(JobRow)
        .where(JobRow.dataset_id == dataset_id, JobRow.kind == search.kind)
        .order_by(JobRow.id.desc())
        .limit(1)
    ).one_or_none()


def mark_stored(
    session: Session,
    search: Search,
    held: HeldAttempt,
    dataset_id: str,
    digests: Mapping[str, FileDigest] = MappingProxyType({}),
) -> JobStatus:
    """End the job as succeeded, unless it was cancelled. Its result must be in the blob store.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Args:
        digests: the digests of its files, by key.
    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    status = complete(session, held)
    if status is JobStatus.SUCCEEDED:
        file_digests.note(session, digests)
        session.execute(
            update(DatasetRow).where(DatasetRow.id == dataset_id).values({search.status: SearchStatus.STORED})
        )
    return status
