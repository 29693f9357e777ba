"""The activity log of an owner: who did what to what, from where."""

from typing import Annotated

from fastapi import Query

from api.http.auth import CallerDep
from api.http.deps import ReadSessionDep
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import document_errors
from api.http.routing import make_router
from heldout.errors import InvalidCursor
from heldout.views.account import ActivityPage, ActivityView
from heldout.views.base import make_view
from models.store import activity

router = make_router("/v1/activity", "activity", scope="admin")
# The former name, kept for one release.
old_router = make_router("/v1/audit", "activity", scope="admin")

Page = Annotated[AskedPage, make_page_dependency("aud")]
Action = Annotated[str | None, Query(max_length=160, description="Only this action, such as `submit_job`.")]
Key = Annotated[str | None, Query(max_length=160, description="Only changes made with the key of this id.")]
Subject = Annotated[str | None, Query(max_length=160, description="Only changes of this id or name.")]


@router.get("", responses=document_errors(InvalidCursor))
def list_activity(
    caller: CallerDep,
    session: ReadSessionDep,
    asked: Page,
    action: Action = None,
    key: Key = None,
    subject: Subject = None,
) -> ActivityPage:
    """List who changed what, newest first. Requests that only read or were refused are not listed."""
    rows, more = activity.list_page(
        session, caller.owner, after=asked.after, limit=asked.limit, action=action, key_id=key, subject=subject
    )
    return ActivityPage(
        object="list",
        data=[make_view(ActivityView, row, object="activity_entry") for row in rows],
        has_more=more,
        next=rows[-1].id if more else None,
    )


@old_router.get("", responses=document_errors(InvalidCursor), deprecated=True)
def list_audit_log(
    caller: CallerDep,
    session: ReadSessionDep,
    asked: Page,
    action: Action = None,
    key: Key = None,
    subject: Subject = None,
) -> ActivityPage:
    """Deprecated: use `GET /v1/activity`. This is its former name, with entries whose `object` is `audit_entry`."""
    page = list_activity(caller, session, asked, action, key, subject)
    return page.model_copy(update={"data": [entry.model_copy(update={"object": "audit_entry"}) for entry in page.data]})
