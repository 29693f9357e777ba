"""Cancels many jobs at once: all that match filters, or those named in the body."""

from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from api.http.auth import CallerDep
from api.http.context import get_current_context
from api.http.deps import SessionDep
from api.http.parameters import METADATA_PARAMETER, FiltersDep
from api.http.problems import JSON_BODY, document_errors
from api.http.routing import make_router
from heldout.errors import HeldoutError, InvalidParameter
from heldout.views.job import (
    MAX_CANCELLED_AT_ONCE,
    MAX_NAMED_AT_ONCE,
    CancellationView,
    NamedCancellationView,
)
from models.database import Session
from models.store import jobs

router = make_router("/v1/jobs", "jobs")


class NamedJobs(BaseModel):
    """The ids of the jobs to cancel."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ids: list[Annotated[str, Field(max_length=40)]] = Field([], max_length=MAX_NAMED_AT_ONCE)


@router.post(
    "/cancel",
    status_code=202,
    response_model_exclude_unset=True,
    openapi_extra=METADATA_PARAMETER,
    responses=document_errors(*JSON_BODY),
)
def cancel_jobs(
    request: Request,
    caller: CallerDep,
    session: SessionDep,
    filters: FiltersDep,
    named: NamedJobs = NamedJobs(),  # noqa: B008 - frozen
) -> CancellationView:
    """Cancel every job of the caller that the filters match, or the jobs whose `ids` the body lists.

    Filters cancel at most 1,000 jobs in one request, and `has_more` says whether others match. For `ids`, `jobs` in the
    answer says what became of each one: its `status`, or a `code` that says why it was not cancelled.
    """
    if bool(filters) == bool(named.ids):
        raise InvalidParameter(
            f"Received {'both filters and ids' if filters else 'no filter'}. Send either a body with `ids`, or at "
            "least one of `status`, `dataset` and `metadata[key]`. "
            "`?status=queued&status=running&status=paused` matches all unfinished jobs."
        )
    if named.ids:
        return _cancel_named(session, caller.owner, named.ids)
    get_current_context().note_changes(session, [unquote_plus(request.url.query)])
    cancelled, cancelling, more = jobs.cancel_matching(session, caller.owner, filters, limit=MAX_CANCELLED_AT_ONCE)
    return CancellationView(object="cancellation", cancelled=cancelled, cancelling=cancelling, has_more=more)


def _cancel_named(session: Session, owner: str, ids: list[str]) -> CancellationView:
    ends = jobs.cancel_named(session, owner, ids)
    changed = [job_id for job_id, end in ends.items() if not isinstance(end, HeldoutError)]
    get_current_context().note_changes(session, changed)
    results = [
        NamedCancellationView(
            id=job_id,
            status=None if isinstance(end, HeldoutError) else end,
            code=end.code if isinstance(end, HeldoutError) else None,
        )
        for job_id, end in ends.items()
    ]
    return CancellationView(
        object="cancellation",
        cancelled=sum(result.status == "cancelled" for result in results),
        cancelling=sum(result.status == "cancelling" for result in results),
        has_more=False,
        jobs=results,
    )
