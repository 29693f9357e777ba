"""Datasets: named versions, owned or bundled, and their status changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session, aliased, defer

from analysis.arrays.dataset import SPLITS, ImageSet, compute_split_digests
from heldout.errors import DatasetNotFound, DatasetNotReady, DatasetUnavailable
from heldout.lifecycle.resources import (
    DatasetEvent,
    DatasetStatus,
    RejectionCode,
    get_next_dataset_status,
    is_fixed_by_resize,
)
from heldout.work.kinds import JobKind
from models.database import db_now
from models.ids import is_id
from models.store import events, statements
from models.store.statements import select_page
from models.tables import DatasetRow, JobRow

# How long an upload stays that was refused for the sizes of its images.
KEPT_FOR_S = 24 * 3600


def _is_visible_to(owner: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(or_(DatasetRow.owner == owner, DatasetRow.owner.is_(None)), DatasetRow.deleted_at.is_(None))


# Built once, because each submission looks up its dataset.
_VISIBLE = select(DatasetRow).where(_is_visible_to(bindparam("owner")))
_BY_ID = _VISIBLE.where(DatasetRow.id == bindparam("id"))
_NAMED = _VISIBLE.where(DatasetRow.name == bindparam("name")).limit(1)
# Ready datasets first, so that a bundled one stays visible until the owner's is ready. If none is ready, the newest
# one explains why.
_BY_NAME = _NAMED.order_by(
    (DatasetRow.status == DatasetStatus.READY).desc(), DatasetRow.owner.is_(None), DatasetRow.version.desc()
)
_BY_VERSION = _NAMED.where(DatasetRow.version == bindparam("version")).order_by(DatasetRow.owner.is_(None))


def find(session: Session, owner: str, reference: str) -> DatasetRow | None:
    """Find the dataset, in any status, that `pets` (its newest ready version), `pets@3` or `ds_…` means for this owner.

    The owner's dataset takes precedence over a bundled one of the same name, once it is ready. An upload with the same
    content as an earlier version of its name stands for that version.
    """
    found = _find_named(session, owner, reference)
    if found is None or found.same_as is None:
        return found
    return session.scalars(_BY_ID, {"owner": owner, "id": found.same_as}).one_or_none()


def get_owner(session: Session, dataset_id: str) -> str | None:
    """Get the owner of a dataset; None if it is bundled."""
    return session.scalar(select(DatasetRow.owner).where(DatasetRow.id == dataset_id))


def require(session: Session, owner: str, reference: str) -> DatasetRow:
    """Find the dataset that this reference means for the owner. Raises DatasetNotFound."""
    row = None if "\0" in reference else find(session, owner, reference)
    if row is None:
        raise DatasetNotFound(reference)
    return row


def lock(session: Session, dataset_id: str, reference: str) -> DatasetRow:
    """Lock a dataset until the transaction ends. Raises DatasetNotFound if it was deleted in the meantime."""
    row = session.scalars(select(DatasetRow).where(DatasetRow.id == dataset_id).with_for_update()).one()
    session.refresh(row)
    if row.deleted_at is not None:
        raise DatasetNotFound(reference)
    return row


@dataclass(frozen=True)
class ReadyDataset:
    """A dataset that a job can train on. image: height, width, channels."""

    row: DatasetRow
    image: tuple[int, int, int]
    classes: Sequence[str]


def require_ready(row: DatasetRow) -> ReadyDataset:
    """Raise DatasetUnavailable if a job cannot train on the dataset."""
    if row.deleted_at is not None:
        raise DatasetUnavailable(row.name, "It was deleted. Name another dataset.")
    if row.status != DatasetStatus.READY or row.shape is None or row.classes is None:
        raise DatasetUnavailable(row.name, explain_not_ready(row))
    height, width, channels = row.shape
    return ReadyDataset(row, (height, width, channels), row.classes)


def require_content(row: DatasetRow, what: str) -> str:
    """Get the content address of a ready dataset. Raises DatasetNotReady, which says that it has no `what`."""
    if row.status is not DatasetStatus.READY or row.sha256 is None:
        raise DatasetNotReady(row.name, row.status, what, explain_not_ready(row))
    return row.sha256


def has_content(session: Session, sha256: str) -> bool:
    """Return whether an undeleted dataset has this content."""
    here = select(DatasetRow.id).where(DatasetRow.sha256 == sha256, DatasetRow.deleted_at.is_(None))
    return session.scalar(here.limit(1)) is not None


def explain_not_ready(row: DatasetRow) -> str:
    """Explain why a dataset is not ready, and what to do."""
    if row.status is DatasetStatus.UPLOADING:
        return f"{row.name}@{row.version} is waiting for its content. Send it with PUT /v1/datasets/{row.id}/content."
    if row.status is DatasetStatus.REJECTED:
        error = row.error or {}
        why = f"{error.get('code', 'internal')}: {error.get('detail', 'The reason is unknown.')}"
        return (
            f"{row.name}@{row.version} was rejected. {why} Fix this and upload the dataset again as a new version, or "
            "name another dataset."
        )
    return f"{row.name}@{row.version} is being ingested. Wait until it is ready, or name another dataset."


def _find_named(session: Session, owner: str, reference: str) -> DatasetRow | None:
    if is_id("ds", reference):
        return session.scalars(_BY_ID, {"owner": owner, "id": reference}).one_or_none()
    name, at, _ = reference.partition("@")
    if at:
        named = {"owner": owner, "name": name, "version": parse_version(reference)}
        return session.scalars(_BY_VERSION, named).one_or_none()
    return session.scalars(_BY_NAME, {"owner": owner, "name": name}).one_or_none()


def parse_version(reference: str) -> int:
    """Parse the number in `name@version`. Returns 0, which no version has, if there is none."""
    version = reference.partition("@")[2]
    return int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0


def list_page(
    session: Session, owner: str, *, after: str | None, limit: int, status: DatasetStatus | None = None
) -> Sequence[str]:
    """List the ids of datasets that the owner sees, newest first: one more than `limit` if there are more.

    Without `status`, a rejected version is listed only while it is the newest of its name.
    """
    query = select(DatasetRow.id).where(_is_visible_to(literal(owner)), DatasetRow.same_as.is_(None))
    if status is not None:
        query = query.where(DatasetRow.status == status)
    else:
        newer = aliased(DatasetRow)
        has_newer = exists().where(
            func.coalesce(newer.owner, "") == owner,  # the same expression as in the index of names
            newer.name == DatasetRow.name,
            newer.version > DatasetRow.version,
            newer.deleted_at.is_(None),
        )
        query = query.where(or_(DatasetRow.status != DatasetStatus.REJECTED, ~has_newer))
    return session.scalars(select_page(query, DatasetRow.id, after, limit)).all()


def get_listed(session: Session, ids: Sequence[str]) -> Sequence[DatasetRow]:
    """Get the datasets with these ids, newest first, without their upload specs."""
    query = select(DatasetRow).where(DatasetRow.id.in_(ids)).options(defer(DatasetRow.spec))
    return session.scalars(query.order_by(DatasetRow.id.desc())).all()


def list_bundled(session: Session) -> Sequence[DatasetRow]:
    """List the newest version of each bundled dataset."""
    newest = (
        select(DatasetRow.name, func.max(DatasetRow.version).label("version"))
        .where(DatasetRow.owner.is_(None))
        .group_by(DatasetRow.name)
        .subquery()
    )
    return session.scalars(
        select(DatasetRow)
        .join(newest, (DatasetRow.name == newest.c.name) & (DatasetRow.version == newest.c.version))
        .where(DatasetRow.owner.is_(None))
    ).all()


def add_bundled(session: Session, id_: str, name: str, images: ImageSet, sha256: str, size_bytes: int) -> None:
    """Add a bundled dataset whose files are in the blob store. Does nothing if it exists with the same content."""
    statements.lock(session, "bundled", name)  # several processes may start at once
    same = select(DatasetRow.id).where(DatasetRow.owner.is_(None), DatasetRow.name == name, DatasetRow.sha256 == sha256)
    if session.execute(same).first() is not None:
        return
    version = session.scalar(
        select(func.coalesce(func.max(DatasetRow.version), 0) + 1).where(
            DatasetRow.owner.is_(None), DatasetRow.name == name
        )
    )
    session.execute(
        insert(DatasetRow).values(
            id=id_,
            owner=None,
            name=name,
            version=version,
            description="",
            status=DatasetStatus.READY,
            sha256=sha256,
            size_bytes=size_bytes,
            shape=list(images.shape),
            dtype=images.images.dtype.name,
            value_range=list(images.value_range),
            classes=list(images.classes),
            splits=describe_splits(images),
            error=None,
            created_at=db_now(),
        )
    )


def describe_splits(images: ImageSet) -> dict[str, Any]:
    """Describe each split by its count, its counts per class in the order of the classes, and its digest."""
    digests = compute_split_digests(images)
    return {
        split: {"count": len(images.splits[split]), "per_class": images.per_class(split), "sha256": digests[split]}
        for split in SPLITS
    }


def move_datasets(
    session: Session,
    status: DatasetStatus,
    event: DatasetEvent,
    *which: ColumnElement[bool],
    message: str,
    data: dict[str, Any] | None = None,
    **values: Any,
) -> list[str]:
    """Change the status of the datasets that match `which` and are in `status`, write `values`, and add events.

    Returns the sorted ids of the datasets that were changed.

    Args:
        message, data: the message and data of the event `dataset.<status>`.
    Raises:
        ImpossibleTransition: if the transition is not allowed.
    """
    after = get_next_dataset_status(status, event)
    moved = session.execute(
        update(DatasetRow)
        .where(DatasetRow.status == status, *which)
        .values(status=after, **values)
        .returning(DatasetRow.id, DatasetRow.deleted_at)
    ).all()
    for dataset_id, deleted_at in sorted(moved, key=lambda row: row.id):
        # A dataset that was deleted during its ingest already has its last event, `dataset.deleted`.
        if deleted_at is None:
            level: events.Level = "error" if after is DatasetStatus.REJECTED else "info"
            events.add(session, dataset_id, f"dataset.{after.value}", message, level=level, data=data)
    return sorted(row.id for row in moved)


def reject_datasets(
    session: Session,
    status: DatasetStatus,
    event: DatasetEvent,
    *which: ColumnElement[bool],
    error: dict[str, Any],
    **values: Any,
) -> list[str]:
    """Move datasets to `rejected`. `error` is from `make_rejection`. Returns their ids like `move_datasets`."""
    data = {"error": error}
    return move_datasets(session, status, event, *which, message=error["detail"], data=data, error=error, **values)


def make_rejection(code: RejectionCode, detail: str, member: str | None = None) -> dict[str, Any]:
    """Make the `error` of a rejected dataset."""
    return {"code": code.value, "detail": detail, "member": member}


def reject_ingested(session: Session, ingest: JobRow, error: dict[str, Any] | None) -> None:
    """Reject the dataset that an ingest failed to make. Otherwise it would stay in `checking` forever.

    Does nothing if it is no longer `checking`. `error` has `code`, `detail` and perhaps `member`. None if the ingest
    was cancelled.
    """
    why = error or make_rejection(RejectionCode.CANCELLED, "The ingest was cancelled.")
    # The spec may be one of a newer release that cannot be read here.
    is_kept = ingest.kind is JobKind.INGEST and is_fixed_by_resize(why["code"], base=ingest.spec.get("base"))
    reject_datasets(
        session,
        DatasetStatus.CHECKING,
        DatasetEvent.REJECT,
        DatasetRow.id == ingest.dataset_id,
        error={"member": None, **why},
        upload_kept_until=db_now(KEPT_FOR_S) if is_kept else None,
    )
