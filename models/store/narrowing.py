"""Filters for lists of jobs, written so that an index answers each query in the list's order."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, exists, false, or_, select, union_all
from sqlalchemy.orm import Session, aliased

from heldout.lifecycle.job import SHOWN_REQUESTS, JobStatus
from heldout.work.kinds import LISTED_KINDS
from models.store.datasets import version_in
from models.store.job_metadata import pair_sha256
from models.tables import DatasetRow, JobMetadataRow, JobRow

# A dataset with at most so many versions gets one query for each of them, one with more gets one query for all.
MAX_VERSIONS_WITH_OWN_QUERY = 8


# In place of a study's id: jobs that belong to none.
NO_STUDY = "none"


@dataclass(frozen=True)
class Filters:
    """What a list of jobs is narrowed to; empty means all."""

    statuses: Collection[str] = ()  # as shown: `cancelling` and `pausing` too
    dataset: str | None = None  # a name, `name@version` or an id
    metadata: Mapping[str, str] | None = None
    study: str | None = None  # its id, or NO_STUDY
    search: str | None = None  # a part of the name, in any case of its letters

    def __bool__(self) -> bool:
        return bool(self.statuses or self.dataset is not None or self.metadata or self.study is not None or self.search)


def matching_ids(
    session: Session,
    owner: str,
    filters: Filters,
    *,
    limit: int,
    newest_first: bool,
    after: str | None = None,
) -> Select[str]:
    """The ids of the first `limit` of the owner's jobs that fit the filters and come before the id `after`.

    Given one query over several kinds, statuses and datasets, databases tend to walk through all jobs of the owner when
    few fit; hence one query for each combination, each of which an index answers in order.
    """
    statuses = [_is_shown_as(status) for status in dict.fromkeys(filters.statuses)]
    datasets = None if filters.dataset is None else _ids_of_versions(session, owner, filters.dataset)
    conditions = _without_metadata(owner, filters, statuses, datasets)
    if filters.study not in (None, NO_STUDY) and not filters.metadata:  # a study has few jobs, and an index finds them
        of_study = select(JobRow.id).where(*conditions, *([JobRow.id < after] if after else []))
        return _first(of_study, JobRow.id, limit, newest_first)
    if filters.metadata:
        return _with_metadata(owner, filters.metadata, conditions, limit, newest_first, after)
    others = [*_of_study(filters.study), *_named_like(filters.search)]
    parts = [
        select(JobRow.id)
        .where(JobRow.owner == owner, JobRow.kind == kind, *status, *dataset, *others)
        .where(*([JobRow.id < after] if after else []))
        .order_by(JobRow.id.desc() if newest_first else JobRow.id)
        .limit(limit)
        .subquery()
        for kind in LISTED_KINDS
        for status in ([[one] for one in statuses] or [[]])
        for dataset in _alternatives(datasets)
    ]
    if len(parts) == 1:
        return select(parts[0].c.id)
    found = union_all(*[select(part.c.id) for part in parts]).subquery()
    return _first(select(found.c.id), found.c.id, limit, newest_first)


def conditions_of(session: Session, owner: str, filters: Filters) -> list[Any]:
    """What holds of the owner's jobs that fit the filters, for a query in an order of its own."""
    statuses = [_is_shown_as(status) for status in dict.fromkeys(filters.statuses)]
    datasets = None if filters.dataset is None else _ids_of_versions(session, owner, filters.dataset)
    pairs = [pair_sha256(*pair) for pair in (filters.metadata or {}).items()]
    of_pairs = [
        exists().where(
            JobMetadataRow.owner == owner, JobMetadataRow.pair_sha256 == pair, JobMetadataRow.job_id == JobRow.id
        )
        for pair in pairs
    ]
    return [*_without_metadata(owner, filters, statuses, datasets), *of_pairs]


def _without_metadata(
    owner: str, filters: Filters, statuses: Sequence[Any], datasets: Sequence[str] | None
) -> list[Any]:
    conditions: list[Any] = [JobRow.owner == owner, JobRow.kind.in_(LISTED_KINDS)]
    if statuses:
        conditions.append(or_(*statuses))
    if datasets is not None:
        conditions.append(JobRow.dataset_id.in_(datasets))
    return [*conditions, *_of_study(filters.study), *_named_like(filters.search)]


def _of_study(study: str | None) -> list[Any]:
    if study is None:
        return []
    return [JobRow.study_id.is_(None) if study == NO_STUDY else JobRow.study_id == study]


def _named_like(search: str | None) -> list[Any]:
    return [JobRow.name.icontains(search, autoescape=True)] if search else []


def _with_metadata(
    owner: str,
    metadata: Mapping[str, str],
    conditions: Sequence[Any],
    limit: int,
    newest_first: bool,
    after: str | None,
) -> Select[str]:
    """Ids of jobs with all pairs: the jobs with the first pair are read in order, and each is checked for the others.

    The checks are scalar subqueries, which no planner turns into a join in another order.
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
    found = _first(query, JobMetadataRow.job_id, limit, newest_first).subquery()
    return select(found.c.job_id)


def _first(query: Select[str], column: Any, limit: int, newest_first: bool) -> Select[str]:
    return query.order_by(column.desc() if newest_first else column).limit(limit)


def _alternatives(datasets: Sequence[str] | None) -> list[list[Any]]:
    """The conditions on a job's dataset of which each gets a query of its own."""
    if datasets is None:
        return [[]]
    if not datasets:
        return [[false()]]
    if len(datasets) > MAX_VERSIONS_WITH_OWN_QUERY:
        return [[JobRow.dataset_id.in_(datasets)]]
    return [[JobRow.dataset_id == dataset] for dataset in datasets]


def _ids_of_versions(session: Session, owner: str, reference: str) -> Sequence[str]:
    """The ids of a dataset's versions, deleted ones too: jobs that have ended still name them."""
    visible = or_(DatasetRow.owner == owner, DatasetRow.owner.is_(None))
    name, at, _ = reference.partition("@")
    if at:
        version = and_(DatasetRow.name == name, DatasetRow.version == version_in(reference))
        return session.scalars(select(DatasetRow.id).where(visible, version)).all()
    named = or_(DatasetRow.name == reference, DatasetRow.id == reference)
    return session.scalars(select(DatasetRow.id).where(visible, named)).all()


def _is_shown_as(status: str) -> Any:
    """The condition under which clients see this status."""
    for request, shown in SHOWN_REQUESTS.items():
        if status == shown:
            return and_(JobRow.status == JobStatus.RUNNING, JobRow.request == request)
    if status == JobStatus.RUNNING:
        return and_(JobRow.status == JobStatus.RUNNING, JobRow.request.is_(None))
    return JobRow.status == JobStatus(status)
