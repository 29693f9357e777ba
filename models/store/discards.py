"""Deletes datasets, and lists the files that are no longer needed."""

from collections.abc import Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from heldout.errors import DatasetInUse
from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import DatasetStatus
from heldout.work.kinds import LISTED_KINDS
from models.database import db_now
from models.store import datasets, events, jobs, statements, studies
from models.store.uploads import get_owned_dataset
from models.tables import DatasetRow, JobRow

SHOWN_JOBS = 5


def remove(session: Session, owner: str, reference: str) -> DatasetRow:
    """Delete a dataset that no client's job needs, and cancel internal jobs such as its ingest.

    `list_discarded` lists the files that remain.

    Raises:
        DatasetNotFound, DatasetIsBundled.
        DatasetInUse: if unfinished jobs or studies train on it.
    """
    found = get_owned_dataset(session, owner, reference)
    _lock_own_jobs(session, found.id)  # locked before the dataset, in the same order as by attempts that end
    row = datasets.lock(session, found.id, reference)
    needed_by = session.scalars(
        select(JobRow.id)
        .where(JobRow.dataset_id == row.id, JobRow.kind.in_(LISTED_KINDS), JobRow.status.not_in(TERMINAL))
        .order_by(JobRow.id)
        .limit(SHOWN_JOBS + 1)
    ).all()
    needed_by = [*studies.list_open(session, dataset_id=row.id), *needed_by]
    if needed_by:
        raise DatasetInUse(row.name, row.version, needed_by[:SHOWN_JOBS], more=len(needed_by) > SHOWN_JOBS)
    deleted = session.scalars(
        update(DatasetRow)
        .where(or_(DatasetRow.id == row.id, DatasetRow.same_as == row.id), DatasetRow.deleted_at.is_(None))
        .values(deleted_at=db_now())
        .returning(DatasetRow.id)
    ).all()
    for job in _lock_own_jobs(session, row.id):
        jobs.cancel_locked(session, job)
    for dataset_id in sorted(deleted):
        events.add(session, dataset_id, "dataset.deleted", "Deleted.")
    return row


def list_discarded(session: Session, limit: int = 20) -> Sequence[DatasetRow]:
    """List datasets that were deleted or rejected, or that no longer need their upload."""
    # The same condition as that of the partial index.
    return session.scalars(
        select(DatasetRow)
        .where(
            or_(
                or_(DatasetRow.deleted_at.is_not(None), DatasetRow.status == DatasetStatus.REJECTED)
                & or_(
                    DatasetRow.deleted_at.is_not(None),
                    DatasetRow.upload_kept_until.is_(None),
                    DatasetRow.upload_kept_until < db_now(),
                )
                & or_(DatasetRow.sha256.is_not(None), DatasetRow.upload_key.is_not(None)),
                (DatasetRow.status == DatasetStatus.READY) & DatasetRow.upload_key.is_not(None),
            )
        )
        .order_by(DatasetRow.id)
        .limit(limit)
    ).all()


def release_files(session: Session, dataset: DatasetRow) -> str | None:
    """Forget the keys of a discarded dataset's files. Returns the content address if no other dataset has it.

    The caller deletes the files before the commit: until then, this transaction keeps others from storing the same
    content.
    """
    # The content of a dataset that is ready must stay.
    is_over = dataset.deleted_at is not None or dataset.status is DatasetStatus.REJECTED
    sha256 = dataset.sha256 if is_over else None
    if sha256 is not None:
        statements.lock(session, "content", sha256)
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset.id)
        .values(upload_key=None, **({} if sha256 is None else {"sha256": None}))
    )
    if sha256 is None:
        return None
    others = select(DatasetRow.id).where(DatasetRow.sha256 == sha256, DatasetRow.id != dataset.id)
    return sha256 if session.scalar(others.limit(1)) is None else None


def is_still_needed(session: Session, dataset_id: str) -> bool:
    """Return whether an unfinished job was queued on the dataset during its deletion, or a version is made from it."""
    open_jobs = select(JobRow.id).where(JobRow.dataset_id == dataset_id, JobRow.status.not_in(TERMINAL))
    derived = select(DatasetRow.id).where(
        DatasetRow.status.in_((DatasetStatus.UPLOADING, DatasetStatus.CHECKING)),
        DatasetRow.derived_from["dataset"]["id"].as_string() == dataset_id,
    )
    return session.scalar(open_jobs.limit(1)) is not None or session.scalar(derived.limit(1)) is not None


def _lock_own_jobs(session: Session, dataset_id: str) -> Sequence[JobRow]:
    """Lock the unfinished internal jobs that make the dataset or find its copies."""
    return session.scalars(
        select(JobRow)
        .where(JobRow.dataset_id == dataset_id, JobRow.kind.not_in(LISTED_KINDS), JobRow.status.not_in(TERMINAL))
        .order_by(JobRow.id)
        .with_for_update()
    ).all()
