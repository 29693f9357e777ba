"""Uploads of datasets: announced first, then received, which queues the ingest."""

from typing import Any

from sqlalchemy import func, insert, literal, null, select, update
from sqlalchemy.orm import Session

from heldout.errors import DatasetIsBundled, DatasetNotFound, InvalidSpec, UploadFinished, UploadNotKept
from heldout.lifecycle.resources import DatasetEvent, DatasetStatus, RejectionCode
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from heldout.work.kinds import LISTED_KINDS, IngestSpec
from heldout.work.memory import estimate_check_bytes
from models.database import db_now
from models.ids import make_id
from models.store import datasets, events, new_jobs, quotas, statements, workers
from models.store.datasets import make_rejection, move_datasets, reject_datasets
from models.store.new_jobs import NewJob
from models.tables import DatasetRow, JobRow, StudyRow

# How long after its announcement an upload may arrive.
ANNOUNCED_FOR_S = 24 * 3600


def announce(session: Session, owner: str, spec: DatasetSpec) -> DatasetRow:
    """Add a new version under the spec's name that waits for its upload.

    Raises:
        QuotaExceeded, OwnerSuspended.
        InvalidSpec: if there is no such version to add images to, or it is not ready.
    """
    quotas.require_room(session, owner, *quotas.OF_NEW_DATASETS)
    base = None if spec.adds_to is None else _find_base(session, owner, spec.adds_to)
    reference = None if base is None else {"id": base.id, "name": base.name, "version": base.version}
    derived_from = None if reference is None else {"dataset": reference}
    return add_version(session, owner, spec, DatasetStatus.UPLOADING, "Waiting for its upload.", derived_from)


def _find_base(session: Session, owner: str, reference: str) -> DatasetRow:
    row = datasets.find(session, owner, reference)
    if row is not None and row.status is DatasetStatus.READY and row.sha256 is not None:
        return row
    why = "is not there" if row is None else f"is {row.status}"
    detail = f"Images can be added to a version that is ready; {reference!r} {why}. Choose another version."
    raise InvalidSpec(detail, pointer="/adds_to")


def add_version(
    session: Session,
    owner: str,
    spec: DatasetSpec,
    status: DatasetStatus,
    message: str,
    derived_from: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
) -> DatasetRow:
    """Add the row of a new version under the spec's name, and its first event, with `message`."""
    statements.lock(session, "dataset", owner, spec.name)  # two versions at once must not get the same number
    _free_rejected_numbers(session, owner, spec.name)
    newest = select(func.max(DatasetRow.version)).where(DatasetRow.owner == owner, DatasetRow.name == spec.name)
    row = session.scalars(
        insert(DatasetRow)
        .returning(DatasetRow)
        .values(
            id=make_id("ds"),
            owner=owner,
            name=spec.name,
            version=max(session.scalar(newest) or 0, 0) + 1,
            description=spec.description,
            status=status,
            spec=spec.model_dump(mode="json"),
            derived_from=derived_from,
            changes=changes,
            created_at=db_now(),
        )
    ).one()
    events.add(session, row.id, f"dataset.{status.value}", message)
    return row


def _free_rejected_numbers(session: Session, owner: str, name: str) -> None:
    """Delete the newest versions of a name if they were rejected and nothing refers to them: no one misses the numbers.

    Their rows stay until their files are removed, with numbers below every version.
    """
    of_name = (DatasetRow.owner == owner, DatasetRow.name == name)
    while newest := session.scalars(select(DatasetRow).where(*of_name).order_by(DatasetRow.version.desc())).first():
        if newest.version < 1 or newest.status is not DatasetStatus.REJECTED or _is_referred_to(session, newest.id):
            return
        if newest.deleted_at is None:
            events.add(session, newest.id, "dataset.deleted", "It was rejected, and a new version takes its number.")
        lowest = session.scalar(select(func.min(DatasetRow.version)).where(*of_name)) or 0
        session.execute(
            update(DatasetRow)
            .where(DatasetRow.id == newest.id)
            .values(version=min(lowest, 0) - 1, deleted_at=func.coalesce(DatasetRow.deleted_at, db_now()))
        )
        session.expire(newest)


def _is_referred_to(session: Session, dataset_id: str) -> bool:
    """Return whether a job other than its own check, a study or a version names a dataset."""
    referring = (
        select(JobRow.id).where(JobRow.dataset_id == dataset_id, JobRow.kind.in_(LISTED_KINDS)),
        select(StudyRow.id).where(StudyRow.dataset_id == dataset_id),
        select(DatasetRow.id).where(DatasetRow.derived_from["dataset"]["id"].as_string() == dataset_id),
    )
    return any(session.scalar(query.limit(1)) is not None for query in referring)


def get_owned_dataset(session: Session, owner: str, reference: str) -> DatasetRow:
    """Find the owner's own dataset by name or id.

    Raises:
        DatasetNotFound, DatasetIsBundled.
    """
    row = datasets.require(session, owner, reference)
    if row.owner is None:
        raise DatasetIsBundled(row.name)
    return row


def receive(
    session: Session,
    owner: str,
    dataset_id: str,
    *,
    key: str,
    sha256: str,
    max_runtime_s: float,
    size_bytes: int | None = None,
) -> tuple[DatasetRow, bool]:
    """Queue the ingest of a complete upload under `key`. Returns the dataset, and whether an ingest was queued.

    The same bytes again queue no ingest, and the caller deletes the new upload.

    Raises:
        QuotaExceeded, OwnerSuspended.
        DatasetNotFound: if it was deleted in the meantime.
        UploadFinished: if other bytes arrived before, or if these are too late.
    """
    quotas.require_room(session, owner, *quotas.OF_UPLOADS)
    own = select(DatasetRow).where(DatasetRow.id == dataset_id, DatasetRow.owner == owner)
    query = own.where(DatasetRow.deleted_at.is_(None)).with_for_update()
    row = statements.find_one(session, query, DatasetNotFound(dataset_id))
    if row.status is not DatasetStatus.UPLOADING:
        if row.upload_sha256 == sha256:
            return datasets.find(session, owner, dataset_id) or row, False
        raise UploadFinished(row.name, row.version, row.status, has_other_content=row.upload_sha256 is not None)
    move_datasets(
        session,
        row.status,
        DatasetEvent.RECEIVE,
        DatasetRow.id == row.id,
        message="The upload is complete. A worker will ingest it.",
        upload_key=key,
        upload_sha256=sha256,
        beside_bytes=size_bytes,
    )
    session.refresh(row)
    _queue_ingest(session, row, max_runtime_s)
    return row, True


def resize(session: Session, owner: str, reference: str, size: ResizeSpec, *, max_runtime_s: float) -> DatasetRow:
    """Queue the ingest of an upload that was refused for the sizes of its images, now with one size for all.

    The same size again changes nothing.

    Raises:
        QuotaExceeded, OwnerSuspended.
        DatasetNotFound, DatasetIsBundled.
        UploadNotKept: if the dataset was not refused for sizes, or if its upload is gone.
    """
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS)
    row = datasets.lock(session, get_owned_dataset(session, owner, reference).id, reference)
    spec = {**(row.spec or {}), "resize": size.model_dump(mode="json")}
    if row.status in (DatasetStatus.CHECKING, DatasetStatus.READY) and row.spec == spec:
        return row
    # Otherwise its file may be deleted at any moment.
    is_kept = (DatasetRow.id == row.id, DatasetRow.upload_key.is_not(None), DatasetRow.upload_kept_until > db_now())
    message = "A worker will read the upload again, with one size for all images."
    changed: dict[str, Any] = {"spec": spec, "error": null(), "upload_kept_until": None}
    if not move_datasets(session, DatasetStatus.REJECTED, DatasetEvent.RESIZE, *is_kept, message=message, **changed):
        raise UploadNotKept(row.name, row.version, row.status)
    session.refresh(row)
    _queue_ingest(session, row, max_runtime_s)
    return row


def _queue_ingest(session: Session, row: DatasetRow, max_runtime_s: float) -> None:
    assert row.owner is not None
    assert row.upload_key is not None
    size_bytes = row.beside_bytes
    dataset = DatasetSpec.model_validate(row.spec)
    base = session.get(DatasetRow, row.derived_from["dataset"]["id"]) if row.derived_from else None
    read_bytes = None if size_bytes is None else size_bytes + (base.size_bytes or 0 if base else 0)
    of_base = base and {
        "base": base.id,
        "base_name": f"{base.name}@{base.version}",
        "base_sha256": base.sha256 or "",
    }
    new_job = NewJob(
        spec=IngestSpec(dataset=dataset, upload=row.upload_key, max_runtime_s=max_runtime_s, **(of_base or {})),
        owner=row.owner,
        name=f"{row.name}@{row.version}",
        dataset_id=row.id,
        memory_bytes=workers.compute_reservable(session, estimate_check_bytes(read_bytes)),
    )
    new_jobs.add(session, new_job)


def reject_unsent(session: Session) -> list[str]:
    """Reject datasets whose upload has not arrived within a day of their announcement. Returns their ids.

    Files left by a broken upload are removed like those of any rejected dataset.
    """
    detail = f"No upload arrived within {ANNOUNCED_FOR_S // 3600} hours. POST /v1/datasets creates the next version."
    return reject_datasets(
        session,
        DatasetStatus.UPLOADING,
        DatasetEvent.EXPIRE,
        DatasetRow.deleted_at.is_(None),
        DatasetRow.created_at < db_now(-ANNOUNCED_FOR_S),
        error=make_rejection(RejectionCode.NEVER_SENT, detail),
        upload_key=literal("uploads/") + DatasetRow.id,
    )
