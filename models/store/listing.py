"""Filters and sorts lists of jobs, with queries that indexes can answer."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, false, insert, null, or_, select, union_all
from sqlalchemy.orm import Session, aliased

from heldout.errors import InvalidCursor, InvalidSpec
from heldout.lifecycle.job import SHOWN_REQUESTS, JobStatus
from heldout.spec.job import MAX_PAIRS
from heldout.views.job import SummaryView
from heldout.work.kinds import LISTED_KINDS
from models.store.datasets import parse_version
from models.tables import DatasetRow, JobMetadataRow, JobRow

# Up to this many versions of a dataset are queried one by one. More are queried together.
MAX_VERSIONS_WITH_OWN_QUERY = 8


# Given instead of a study's id for jobs that belong to no study.
NO_STUDY = "none"


@dataclass(frozen=True)
class Filters:
    """The filters of a list of jobs. Empty filters match all jobs."""

    statuses: Collection[str] = ()  # as shown to clients, including `cancelling` and `pausing`
    dataset: str | None = None  # a name, `name@version` or an id
    metadata: Mapping[str, str] | None = None
    study: str | None = None  # its id, or NO_STUDY
    search: str | None = None  # a part of the name, ignoring case, or the start of the id

    def __bool__(self) -> bool:
        return bool(self.statuses or self.dataset is not None or self.metadata or self.study is not None or self.search)


def select_matching_ids(
    session: Session,
    owner: str,
    filters: Filters,
    *,
    limit: int,
    newest_first: bool,
    after: str | None = None,
) -> Select[str]:
    """Select the ids of the owner's first `limit` jobs that match the filters and precede the id `after`.

    With one query over several kinds, statuses and datasets, databases tend to scan all jobs of the owner if few match.
    So there is one query for each combination, which an index answers in order.
    """
    statuses = [_is_shown_as(status) for status in dict.fromkeys(filters.statuses)]
    datasets = None if filters.dataset is None else _list_version_ids(session, owner, filters.dataset)
    conditions = _match_without_metadata(owner, filters, statuses, datasets)
    if filters.study not in (None, NO_STUDY) and not filters.metadata:  # a study has few jobs, which an index finds
        of_study = select(JobRow.id).where(*conditions, *([JobRow.id < after] if after else []))
        return _select_first(of_study, JobRow.id, limit, newest_first)
    if filters.metadata:
        return _select_with_metadata(owner, filters.metadata, conditions, limit, newest_first, after)
    others = [*_match_study(filters.study), *_match_text(filters.search)]
    parts = [
        select(JobRow.id)
        .where(JobRow.owner == owner, JobRow.kind == kind, *status, *dataset, *others)
        .where(*([JobRow.id < after] if after else []))
        .order_by(JobRow.id.desc() if newest_first else JobRow.id)
        .limit(limit)
        .subquery()
        for kind in LISTED_KINDS
        for status in ([[condition] for condition in statuses] or [[]])
        for dataset in _list_alternatives(datasets)
    ]
    if len(parts) == 1:
        return select(parts[0].c.id)
    found = union_all(*[select(part.c.id) for part in parts]).subquery()
    return _select_first(select(found.c.id), found.c.id, limit, newest_first)


def build_conditions(session: Session, owner: str, filters: Filters) -> list[Any]:
    """Build the conditions of the owner's jobs that match the filters, for a query with its own order."""
    statuses = [_is_shown_as(status) for status in dict.fromkeys(filters.statuses)]
    datasets = None if filters.dataset is None else _list_version_ids(session, owner, filters.dataset)
    pairs = [compute_pair_sha256(*pair) for pair in (filters.metadata or {}).items()]
    of_pairs = [
        exists().where(
            JobMetadataRow.owner == owner, JobMetadataRow.pair_sha256 == pair, JobMetadataRow.job_id == JobRow.id
        )
        for pair in pairs
    ]
    return [*_match_without_metadata(owner, filters, statuses, datasets), *of_pairs]


def _match_without_metadata(
    owner: str, filters: Filters, statuses: Sequence[Any], datasets: Sequence[str] | None
) -> list[Any]:
    conditions: list[Any] = [JobRow.owner == owner, JobRow.kind.in_(LISTED_KINDS)]
    if statuses:
        conditions.append(or_(*statuses))
    if datasets is not None:
        conditions.append(JobRow.dataset_id.in_(datasets))
    return [*conditions, *_match_study(filters.study), *_match_text(filters.search)]


def _match_study(study: str | None) -> list[Any]:
    if study is None:
        return []
    return [JobRow.study_id.is_(None) if study == NO_STUDY else JobRow.study_id == study]


def _match_text(search: str | None) -> list[Any]:
    if not search:
        return []
    return [or_(JobRow.name.icontains(search, autoescape=True), JobRow.id.startswith(search, autoescape=True))]


def _select_with_metadata(
    owner: str,
    metadata: Mapping[str, str],
    conditions: Sequence[Any],
    limit: int,
    newest_first: bool,
    after: str | None,
) -> Select[str]:
    """Select the jobs with all pairs: read the jobs with the first pair in order, and check each for the others.

    The checks are scalar subqueries, so that planners do not turn them into a join in another order.
    """
    first, *others = (compute_pair_sha256(*pair) for pair in metadata.items())
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
    found = _select_first(query, JobMetadataRow.job_id, limit, newest_first).subquery()
    return select(found.c.job_id)


def _select_first(query: Select[str], column: Any, limit: int, newest_first: bool) -> Select[str]:
    return query.order_by(column.desc() if newest_first else column).limit(limit)


def _list_alternatives(datasets: Sequence[str] | None) -> list[list[Any]]:
    """List the conditions on a job's dataset that each get their own query."""
    if datasets is None:
        return [[]]
    if not datasets:
        return [[false()]]
    if len(datasets) > MAX_VERSIONS_WITH_OWN_QUERY:
        return [[JobRow.dataset_id.in_(datasets)]]
    return [[JobRow.dataset_id == dataset] for dataset in datasets]


def _list_version_ids(session: Session, owner: str, reference: str) -> Sequence[str]:
    """List the ids of a dataset's versions, including deleted ones, which jobs that have ended still name."""
    visible = or_(DatasetRow.owner == owner, DatasetRow.owner.is_(None))
    name, at, _ = reference.partition("@")
    if at:
        version = and_(DatasetRow.name == name, DatasetRow.version == parse_version(reference))
        return session.scalars(select(DatasetRow.id).where(visible, version)).all()
    named = or_(DatasetRow.name == reference, DatasetRow.id == reference)
    return session.scalars(select(DatasetRow.id).where(visible, named)).all()


def _is_shown_as(status: str) -> Any:
    """Build the condition under which clients see this status."""
    for request, shown in SHOWN_REQUESTS.items():
        if status == shown:
            return and_(JobRow.status == JobStatus.RUNNING, JobRow.request == request)
    if status == JobStatus.RUNNING:
        return and_(JobRow.status == JobStatus.RUNNING, JobRow.request.is_(None))
    return JobRow.status == JobStatus(status)


def add_metadata(session: Session, job_id: str, owner: str, metadata: Mapping[str, str]) -> None:
    """Add the metadata rows of a new job."""
    rows = [{"owner": owner, "pair_sha256": compute_pair_sha256(*pair), "job_id": job_id} for pair in metadata.items()]
    if rows:
        session.execute(insert(JobMetadataRow), rows)


def replace_metadata(session: Session, job_id: str, owner: str, metadata: Mapping[str, str]) -> None:
    """Replace the metadata rows of a job."""
    session.execute(delete(JobMetadataRow).where(JobMetadataRow.job_id == job_id))
    add_metadata(session, job_id, owner, metadata)


def merge_metadata(metadata: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Merge changes into metadata. Null removes a key. Raises InvalidSpec if there are too many pairs."""
    both = {key: value for key, value in {**metadata, **changes}.items() if value is not None}
    if len(both) > MAX_PAIRS:
        detail = (
            f'The job would have {len(both)} pairs; expected at most {MAX_PAIRS}. Remove some with `{{"key": null}}`.'
        )
        raise InvalidSpec(detail, pointer="/metadata")
    return both


def compute_pair_sha256(key: str, value: str) -> str:
    """Compute a digest that is unique for each pair, since neither text can contain NUL."""
    return hashlib.sha256(f"{key}\0{value}".encode()).hexdigest()


# Lower than any accuracy or gap, so that jobs without a figure come last without a rule for nulls.
NO_BEST, NO_GAP = -1.0, -2.0


class Sort(StrEnum):
    """The order of a list of jobs: newest, best or widest gap first, or names from A to Z."""

    CREATED = "created"
    NAME = "name"
    BEST = "best"
    GAP = "gap"


_COLUMNS: dict[Sort, Any] = {Sort.NAME: JobRow.name, Sort.BEST: JobRow.sort_best, Sort.GAP: JobRow.sort_gap}


def get_summary_columns(summary: SummaryView | None) -> Mapping[str, Any]:
    """Get a job's columns for its summary and for sorting."""
    most_accurate = None if summary is None else summary.most_accurate or summary.best
    best = None if most_accurate is None else most_accurate.validation_accuracy
    gaps = None if summary is None else summary.gap
    gap = None if gaps is None else gaps.test or gaps.validation
    return {
        "summary": null() if summary is None else summary.model_dump(mode="json"),
        "sort_best": NO_BEST if best is None else best,
        "sort_gap": NO_GAP if gap is None or gap.accuracy is None else gap.accuracy,
    }


def select_sorted_ids(
    session: Session, owner: str, filters: Filters, sort: Sort, *, limit: int, after: str | None
) -> Select[str]:
    """Select the ids of the owner's first `limit` jobs that match the filters and come after the job `after`.

    Raises:
        InvalidCursor: if that job no longer exists, so that its position is unknown.
    """
    column = _COLUMNS[sort]
    conditions = build_conditions(session, owner, filters)
    if after is not None:
        conditions.append(_is_after(session, owner, column, after, ascending=sort is Sort.NAME))
    return select(JobRow.id).where(*conditions).order_by(*get_order(sort)).limit(limit)


def get_order(sort: Sort) -> tuple[Any, ...]:
    """Get the columns for ORDER BY."""
    if sort is Sort.CREATED:
        return (JobRow.id.desc(),)
    column = _COLUMNS[sort]
    return (column, JobRow.id) if sort is Sort.NAME else (column.desc(), JobRow.id.desc())


def _is_after(session: Session, owner: str, column: Any, job_id: str, *, ascending: bool) -> ColumnElement[bool]:
    value = session.scalar(select(column).where(JobRow.id == job_id, JobRow.owner == owner))
    if value is None:
        raise InvalidCursor("The job at the end of the previous page no longer exists. Start again without `after`.")
    if ascending:
        return or_(column > value, and_(column == value, JobRow.id > job_id))
    return or_(column < value, and_(column == value, JobRow.id < job_id))
