"""Cancelling many jobs at once."""

from api.http.auth import CallerDep
from api.http.deps import SessionDep
from api.http.filters import METADATA_PARAMETER, FiltersDep
from api.http.problems import problems
from api.http.routing import resource
from heldout.errors import InvalidParameter
from heldout.views.cancellation import MAX_CANCELLED_AT_ONCE, CancellationView
from models.store import jobs

router = resource("/v1/jobs", "jobs")


@router.post("/cancel", status_code=202, openapi_extra=METADATA_PARAMETER, responses=problems())
def cancel_jobs(caller: CallerDep, session: SessionDep, filters: FiltersDep) -> CancellationView:
    """Cancel all of the caller's jobs that the filters name and that neither have ended nor were asked to cancel."""
    if not filters:
        raise InvalidParameter(
            "Received no filter; send at least one of `status`, `dataset` and `metadata[key]`. "
            "`?status=queued&status=running&status=paused` names all that have not ended."
        )
    cancelled, cancelling, more = jobs.cancel_matching(session, caller.owner, filters, limit=MAX_CANCELLED_AT_ONCE)
    return CancellationView(object="cancellation", cancelled=cancelled, cancelling=cancelling, has_more=more)
