"""Datasets that owners upload: announced, received, checked by a background job, taken or rejected, deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from heldout.datasets import DatasetSpec
from heldout.errors import DatasetInUse, DatasetIsBundled, DatasetNotFound, UploadFinished
from heldout.kinds import IngestSpec, JobKind
from heldout.lifecycle import TERMINAL, JobEvent, JobRequest, JobStatus, StopReason
from models.database import db_now
from models.ids import new_id
from models.store import datasets, events, locks, new_jobs
from models.store.claims import HeldAttempt, require_held
from models.store.transitions import move
from models.tables import DatasetRow, JobRow

# Above any training's: what it holds up is short, and many trainings may wait for it.
PRIORITY = 1000
SHOWN_JOBS = 5
# How long the content of an announced dataset may take to come.
ANNOUNCED_FOR_S = 24 * 3600


@dataclass(frozen=True)
class CheckedContent:
    """What a check has found an upload to be, as the columns of a dataset keep it."""

    sha256: str
    size_bytes: int
    shape: Sequence[int]
    dtype: str
    value_range: Sequence[float]
    classes: Sequence[str]
    splits: dict[str, Any]


def announce(session: Session, owner: str, spec: DatasetSpec) -> DatasetRow:
    """A new version under the spec's name, waiting for its content."""
    locks.hold(session, "dataset", owner, spec.name)  # two versions at once must not get one number
    newest = select(func.max(DatasetRow.version)).where(DatasetRow.owner == owner, DatasetRow.name == spec.name)
    row = session.scalars(
        insert(DatasetRow)
        .returning(DatasetRow)
        .values(
            id=new_id("ds"),
            owner=owner,
            name=spec.name,
            version=(session.scalar(newest) or 0) + 1,
            description=spec.description,
            status="uploading",
            spec=spec.model_dump(mode="json"),
            created_at=db_now(),
        )
    ).one()
    events.add(session, row.id, "dataset.uploading", "Waiting for its content.")
    return row


def uploaded_to(session: Session, owner: str, reference: str) -> DatasetRow:
    """The owner's dataset that a body is sent for.

    Raises:
        DatasetNotFound, DatasetIsBundled.
    """
    row = datasets.find(session, owner, reference)
    if row is None:
        raise DatasetNotFound(reference)
    if row.owner is None:
        raise DatasetIsBundled(row.name)
    return row


def received(
    session: Session, owner: str, dataset_id: str, *, key: str, sha256: str, max_runtime_s: float
) -> tuple[DatasetRow, JobRow | None]:
    """The upload lies whole under `key`: queue its check, and give back the dataset and the check's job.

    The same bytes again change nothing: there is no job then, and the caller deletes what it has just stored.

    Raises:
        DatasetNotFound: it was deleted meanwhile.
        UploadFinished: other bytes came before, or these come too late.
    """
    row = session.scalars(
        select(DatasetRow)
        .where(DatasetRow.id == dataset_id, DatasetRow.owner == owner, DatasetRow.deleted_at.is_(None))
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise DatasetNotFound(dataset_id)
    if row.status != "uploading":
        if row.upload_sha256 == sha256:
            return datasets.find(session, owner, dataset_id) or row, None
        raise UploadFinished(row.name, row.version, row.status, came=row.upload_sha256 is not None)
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == row.id)
        .values(status="checking", upload_key=key, upload_sha256=sha256)
        .execution_options(synchronize_session=False)
    )
    events.add(session, row.id, "dataset.checking", "Its content has come and is checked.")
    session.refresh(row)
    return row, _queue_check(session, row, key, max_runtime_s)


def reject_unsent(session: Session) -> list[str]:
    """Reject datasets whose content has not come within a day of their announcement; gives their ids.

    What an upload that broke off may have left of one is removed as that of any rejected dataset is.
    """
    detail = f"No content came within {ANNOUNCED_FOR_S // 3600} hours. POST /v1/datasets makes the next version."
    error = {"code": "never_sent", "detail": detail, "member": None}
    unsent = sorted(
        session.scalars(
            update(DatasetRow)
            .where(
                DatasetRow.status == "uploading",
                DatasetRow.deleted_at.is_(None),
                DatasetRow.created_at < db_now(-ANNOUNCED_FOR_S),
            )
            .values(status="rejected", error=error, upload_key=literal("uploads/") + DatasetRow.id)
            .returning(DatasetRow.id)
            .execution_options(synchronize_session=False)
        )
    )
    for dataset_id in unsent:
        events.add(session, dataset_id, "dataset.rejected", detail, level="error", data={"error": error})
    return unsent


def reserve_content(session: Session, held: HeldAttempt, dataset_id: str, sha256: str) -> None:
    """Note the content address of a dataset that is being checked, before its files are stored under it.

    From then on nobody removes what lies there.

    Raises:
        LeaseLost: if this attempt no longer holds the check.
    """
    locks.hold(session, "content", sha256)
    require_held(session, held)
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id)
        .values(sha256=sha256)
        .execution_options(synchronize_session=False)
    )


def mark_ready(session: Session, held: HeldAttempt, dataset_id: str, content: CheckedContent) -> JobStatus:
    """End a check well, unless it was cancelled: the dataset is ready, or is an earlier one of the same content.

    Saying it again is no error: a worker whose commit was not acknowledged cannot know that it was heard.

    Raises:
        LeaseLost: if this attempt no longer holds the check.
    """
    ended = session.execute(
        select(JobRow.status).where(
            JobRow.id == held.job_id, JobRow.attempt == held.attempt, JobRow.status == JobStatus.SUCCEEDED
        )
    ).scalar_one_or_none()
    if ended is not None:
        return ended
    job = require_held(session, held)
    locks.hold(session, "dataset", job.owner, job.name.partition("@")[0])  # the same content, twice at once
    status = move(session, job, JobEvent.SUCCEED, stop_reason=StopReason.COMPLETED)
    if status is not JobStatus.SUCCEEDED:
        return status
    row = session.get_one(DatasetRow, dataset_id)
    same = select(DatasetRow.id).where(
        DatasetRow.owner == row.owner,
        DatasetRow.name == row.name,
        DatasetRow.status == "ready",
        DatasetRow.same_as.is_(None),
        DatasetRow.deleted_at.is_(None),
        DatasetRow.sha256 == content.sha256,
        DatasetRow.id != row.id,
    )
    same_as = session.scalar(same.order_by(DatasetRow.version).limit(1))
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id)
        .values(
            status="ready",
            same_as=same_as,
            sha256=content.sha256,
            size_bytes=content.size_bytes,
            shape=list(content.shape),
            dtype=content.dtype,
            value_range=list(content.value_range),
            classes=list(content.classes),
            splits=content.splits,
        )
        .execution_options(synchronize_session=False)
    )
    message = "Ready to train on." if same_as is None else "Its content was there already, under an earlier version."
    events.add(session, dataset_id, "dataset.ready", message, data={"same_as": same_as})
    return status


def reject(session: Session, held: HeldAttempt, error: dict[str, Any]) -> JobStatus:
    """End a check badly for good: the upload is not taken. `error` has `code`, `detail` and `member`.

    Raises:
        LeaseLost: if this attempt no longer holds the check.
    """
    return move(session, require_held(session, held), JobEvent.FAIL, error=error)


def remove(session: Session, owner: str, reference: str) -> DatasetRow:
    """Delete a dataset that no job needs; a check of it is called off. Its files go by `discarded`.

    Raises:
        DatasetNotFound, DatasetIsBundled.
        DatasetInUse: jobs that have not ended train on it.
    """
    found = uploaded_to(session, owner, reference)
    row = session.scalars(select(DatasetRow).where(DatasetRow.id == found.id).with_for_update()).one()
    session.refresh(row)
    if row.deleted_at is not None:
        raise DatasetNotFound(reference)
    needed_by = session.scalars(
        select(JobRow.id)
        .where(JobRow.dataset_id == row.id, JobRow.kind != JobKind.INGEST, JobRow.status.not_in(TERMINAL))
        .order_by(JobRow.id)
        .limit(SHOWN_JOBS + 1)
    ).all()
    if needed_by:
        raise DatasetInUse(row.name, row.version, needed_by[:SHOWN_JOBS], more=len(needed_by) > SHOWN_JOBS)
    deleted = session.scalars(
        update(DatasetRow)
        .where(or_(DatasetRow.id == row.id, DatasetRow.same_as == row.id), DatasetRow.deleted_at.is_(None))
        .values(deleted_at=db_now())
        .returning(DatasetRow.id)
        .execution_options(synchronize_session=False)
    ).all()
    _call_off(session, row.id)
    for dataset_id in sorted(deleted):
        events.add(session, dataset_id, "dataset.deleted", "Deleted.")
    return row


@dataclass(frozen=True)
class Discarded:
    """A dataset of whose files some may lie in the blob store for nobody."""

    id: str
    upload_key: str | None
    sha256: str | None  # null where the content is to stay
    is_deleted: bool


def discarded(session: Session, limit: int = 20) -> list[Discarded]:
    """Datasets that were deleted, rejected, or need their upload no more."""
    # The condition is the partial index's own.
    rows = session.scalars(
        select(DatasetRow)
        .where(
            or_(
                or_(DatasetRow.deleted_at.is_not(None), DatasetRow.status == "rejected")
                & or_(DatasetRow.sha256.is_not(None), DatasetRow.upload_key.is_not(None)),
                (DatasetRow.status == "ready") & DatasetRow.upload_key.is_not(None),
            )
        )
        .order_by(DatasetRow.id)
        .limit(limit)
    ).all()
    return [
        Discarded(
            row.id,
            row.upload_key,
            row.sha256 if row.deleted_at is not None or row.status == "rejected" else None,
            row.deleted_at is not None,
        )
        for row in rows
    ]


def release_files(session: Session, one: Discarded) -> str | None:
    """Take a discarded dataset's names off its files. Gives the content address if nobody else needs what is there.

    The caller deletes the files before it commits: this transaction keeps others from storing the same content.
    """
    if one.sha256 is not None:
        locks.hold(session, "content", one.sha256)
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == one.id)
        .values(upload_key=None, **({} if one.sha256 is None else {"sha256": None}))
        .execution_options(synchronize_session=False)
    )
    if one.sha256 is None:
        return None
    others = select(DatasetRow.id).where(DatasetRow.sha256 == one.sha256, DatasetRow.id != one.id)
    return one.sha256 if session.scalar(others.limit(1)) is None else None


def is_still_needed(session: Session, dataset_id: str) -> bool:
    """Whether a job that has not ended slipped in while its dataset was deleted."""
    open_jobs = select(JobRow.id).where(JobRow.dataset_id == dataset_id, JobRow.status.not_in(TERMINAL))
    return session.scalar(open_jobs.limit(1)) is not None


def _queue_check(session: Session, dataset: DatasetRow, key: str, max_runtime_s: float) -> JobRow:
    assert dataset.owner is not None
    return new_jobs.add(
        session,
        job_id=new_id("job"),
        kind=JobKind.INGEST,
        owner=dataset.owner,
        name=f"{dataset.name}@{dataset.version}",
        spec=IngestSpec(dataset=DatasetSpec.model_validate(dataset.spec), upload=key, max_runtime_s=max_runtime_s),
        dataset_id=dataset.id,
        priority=PRIORITY,
        device="cpu",
    )


def _call_off(session: Session, dataset_id: str) -> None:
    """Cancel the check of a dataset, or ask its worker to."""
    job = session.scalars(
        select(JobRow)
        .where(JobRow.dataset_id == dataset_id, JobRow.kind == JobKind.INGEST, JobRow.status.not_in(TERMINAL))
        .with_for_update()
    ).one_or_none()
    if job is None:
        return
    if job.status is not JobStatus.RUNNING:
        move(session, job, JobEvent.CANCEL)
        return
    session.execute(
        update(JobRow)
        .where(JobRow.id == job.id, JobRow.attempt == job.attempt)
        .values(request=JobRequest.CANCEL, version=JobRow.version + 1)
        .execution_options(synchronize_session=False)
    )
