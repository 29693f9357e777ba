"""Cancelling many jobs at once."""

from typing import Literal

from pydantic import Field

from api.http.auth import CallerDep
from api.http.deps import SessionDep
from api.http.filters import METADATA_PARAMETER, FiltersDep
from api.http.problems import problems
from api.http.routing import resource
from api.views import View
from heldout.errors import InvalidParameter
from models.store import jobs

router = resource("/v1/jobs", "jobs")

AT_ONCE = 1000


class CancellationView(View):
    """How many jobs one request has reached."""

    object: Literal["cancellation"]
    cancelled: int = Field(description="Were waiting, and are cancelled.")
    cancelling: int = Field(description="Run; their workers were asked to cancel them.")
    has_more: bool = Field(description=f"One request reaches {AT_ONCE} jobs; repeat it for the others.")


@router.post("/cancel", status_code=202, openapi_extra=METADATA_PARAMETER, responses=problems())
def cancel_jobs(caller: CallerDep, session: SessionDep, filters: FiltersDep) -> CancellationView:
    """Cancel all of the caller's jobs that the filters name and that neither have ended nor were asked to cancel."""
    if not filters:
        raise InvalidParameter(
            "Received no filter; send at least one of `status`, `dataset` and `metadata[key]`. "
            "`?status=queued&status=running&status=paused` names all that have not ended."
        )
    cancelled, cancelling, more = jobs.cancel_matching(session, caller.owner, filters, limit=AT_ONCE)
    return CancellationView(object="cancellation", cancelled=cancelled, cancelling=cancelling, has_more=more)
