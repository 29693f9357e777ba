"""Lists of jobs in another order than that of their making, page by page from an index."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, null, or_, select
from sqlalchemy.orm import Session

from heldout.errors import InvalidCursor
from heldout.views.job import SummaryView
from models.store.narrowing import Filters, conditions_of
from models.tables import JobRow

# Below every accuracy and every gap: jobs without one come last, with no need for a rule about nulls.
NO_BEST, NO_GAP = -1.0, -2.0


class Sort(StrEnum):
    """What a list of jobs is sorted by: the newest, the best and the widest gap first; names from A to Z."""

    CREATED = "created"
    NAME = "name"
    BEST = "best"
    GAP = "gap"


_COLUMNS: dict[Sort, Any] = {Sort.NAME: JobRow.name, Sort.BEST: JobRow.sort_best, Sort.GAP: JobRow.sort_gap}


def summary_columns(summary: SummaryView | None) -> Mapping[str, Any]:
    """The columns of a job that hold its summary, and what lists sort by."""
    most_accurate = None if summary is None else summary.most_accurate or summary.best
    best = None if most_accurate is None else most_accurate.validation_accuracy
    gaps = None if summary is None else summary.gap
    gap = None if gaps is None else gaps.test or gaps.validation
    return {
        "summary": null() if summary is None else summary.model_dump(mode="json"),
        "sort_best": NO_BEST if best is None else best,
        "sort_gap": NO_GAP if gap is None or gap.accuracy is None else gap.accuracy,
    }


def sorted_ids(
    session: Session, owner: str, filters: Filters, sort: Sort, *, limit: int, after: str | None
) -> Select[str]:
    """The ids of the first `limit` of the owner's jobs that fit the filters and come after the job `after`.

    Raises:
        InvalidCursor: the owner has no such job any more, so its place in the order is not known.
    """
    column = _COLUMNS[sort]
    conditions = conditions_of(session, owner, filters)
    if after is not None:
        conditions.append(_is_after(session, owner, column, after, ascending=sort is Sort.NAME))
    return select(JobRow.id).where(*conditions).order_by(*order_of(sort)).limit(limit)


def order_of(sort: Sort) -> tuple[Any, ...]:
    """The columns of ORDER BY."""
    if sort is Sort.CREATED:
        return (JobRow.id.desc(),)
    column = _COLUMNS[sort]
    return (column, JobRow.id) if sort is Sort.NAME else (column.desc(), JobRow.id.desc())


def _is_after(session: Session, owner: str, column: Any, job_id: str, *, ascending: bool) -> ColumnElement[bool]:
    value = session.scalar(select(column).where(JobRow.id == job_id, JobRow.owner == owner))
    if value is None:
        raise InvalidCursor("The job that ended the page before is gone. Begin again without `after`.")
    if ascending:
        return or_(column > value, and_(column == value, JobRow.id > job_id))
    return or_(column < value, and_(column == value, JobRow.id < job_id))
