"""Which jobs a list shows: found through an index in the list's own order, however many jobs there are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, false, or_, select, union_all
from sqlalchemy.orm import Session, aliased

from heldout.lifecycle import JobRequest, JobStatus
from models.store.datasets import version_in
from models.store.job_metadata import pair_sha256
from models.tables import DatasetRow, JobMetadataRow, JobRow

# Versions of a dataset that are each looked up by themselves; more are looked up together.
VERSIONS = 8


@dataclass(frozen=True)
class Filters:
    """What a list of jobs is narrowed to; empty means all."""

    statuses: Collection[str] = ()  # as shown: `cancelling` and `pausing` too
    dataset: str | None = None  # a name, `name@version` or an id
    metadata: Mapping[str, str] | None = None

    def __bool__(self) -> bool:
        return bool(self.statuses or self.dataset is not None or self.metadata)


def narrowed(
    session: Session,
    owner: str,
    filters: Filters,
    *,
    limit: int,
    newest_first: bool,
    after: str | None = None,
) -> Select[str]:
    """The ids of the first `limit` of the owner's training jobs that the filters name, below `after`.

    Given one query over several statuses and datasets, databases tend to walk through all jobs of the owner when few
    match; hence one query for each of them, each of which an index answers in order.
    """
    statuses = [_shown_as(status) for status in dict.fromkeys(filters.statuses)]
    datasets = None if filters.dataset is None else _named(session, owner, filters.dataset)
    always = [JobRow.owner == owner, JobRow.kind == "train"]
    if filters.metadata:
        conditions = [*always, *([or_(*statuses)] if statuses else [])]
        if datasets is not None:
            conditions.append(JobRow.dataset_id.in_(datasets))
        return _bearing(owner, filters.metadata, conditions, limit, newest_first, after)
    if after is not None:
        always.append(JobRow.id < after)
    parts = [
        select(JobRow.id)
        .where(*always, *status, *dataset)
        .order_by(JobRow.id.desc() if newest_first else JobRow.id)
        .limit(limit)
        .subquery()
        for status in ([[one] for one in statuses] or [[]])
        for dataset in _each_of(datasets)
    ]
    if len(parts) == 1:
        return select(parts[0].c.id)
    found = union_all(*[select(part.c.id) for part in parts]).subquery()
    return _page(select(found.c.id), found.c.id, limit, newest_first)


def _bearing(
    owner: str,
    metadata: Mapping[str, str],
    conditions: Sequence[Any],
    limit: int,
    newest_first: bool,
    after: str | None,
) -> Select[str]:
    """Ids of jobs that bear all pairs: those with the first pair, in their order, of which the others are asked.

    They are asked by scalar subqueries, which no planner turns into a join in another order.
    """
    first, *others = (pair_sha256(*pair) for pair in metadata.items())
    query = select(JobMetadataRow.job_id).where(
        JobMetadataRow.owner == owner,
        JobMetadataRow.pair_sha256 == first,
        select(JobRow.id).where(JobRow.id == JobMetadataRow.job_id, *conditions).scalar_subquery().is_not(None),
    )
    for pair in others:
        other = aliased(JobMetadataRow)
        query = query.where(
            select(other.job_id)
            .where(other.owner == owner, other.pair_sha256 == pair, other.job_id == JobMetadataRow.job_id)
            .scalar_subquery()
            .is_not(None)
        )
    if after is not None:
        query = query.where(JobMetadataRow.job_id < after)
    found = _page(query, JobMetadataRow.job_id, limit, newest_first).subquery()
    return select(found.c.job_id)


def _page(query: Select[str], column: Any, limit: int, newest_first: bool) -> Select[str]:
    return query.order_by(column.desc() if newest_first else column).limit(limit)


def _each_of(datasets: Sequence[str] | None) -> list[list[Any]]:
    if datasets is None:
        return [[]]
    if not datasets:
        return [[false()]]
    if len(datasets) > VERSIONS:
        return [[JobRow.dataset_id.in_(datasets)]]
    return [[JobRow.dataset_id == dataset] for dataset in datasets]


def _named(session: Session, owner: str, reference: str) -> Sequence[str]:
    """The ids of a dataset's versions, deleted ones too: jobs that have ended still name them."""
    visible = or_(DatasetRow.owner == owner, DatasetRow.owner.is_(None))
    name, at, _ = reference.partition("@")
    if at:
        version = and_(DatasetRow.name == name, DatasetRow.version == version_in(reference))
        return session.scalars(select(DatasetRow.id).where(visible, version)).all()
    named = or_(DatasetRow.name == reference, DatasetRow.id == reference)
    return session.scalars(select(DatasetRow.id).where(visible, named)).all()


def _shown_as(status: str) -> Any:
    """The condition under which clients see this status."""
    if status == "cancelling":
        return and_(JobRow.status == JobStatus.RUNNING, JobRow.request == JobRequest.CANCEL)
    if status == "pausing":
        return and_(JobRow.status == JobStatus.RUNNING, JobRow.request == JobRequest.PAUSE)
    if status == "running":
        return and_(JobRow.status == JobStatus.RUNNING, JobRow.request.is_(None))
    return JobRow.status == JobStatus(status)
