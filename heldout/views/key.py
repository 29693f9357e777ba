"""API keys, the sessions that browsers start with them, and the activity log of what was done with them."""

from typing import Literal

from pydantic import Field

from heldout.access.scopes import Scope
from heldout.views.base import Time, View
from heldout.views.page import Page


class KeyView(View):
    """A key without its secret, which is not stored."""

    id: str
    object: Literal["key"]
    scopes: list[Scope] = Field(description="`read`; `write` for changes; `admin` for keys and the activity log.")
    made_by: str | None = Field(description="The id of the key that created it; null if the operator did.")
    created_at: Time
    expires_at: Time | None = Field(description="The key is refused from then on; null if it never expires.")
    last_used_at: Time | None = Field(description="Updated some seconds after each use; null if never used.")
    revoked_at: Time | None


class NewKeyView(KeyView):
    """A key that was just created; `key` is only shown once."""

    key: str = Field(description="`ho_<id>_<secret>`, for the Authorization header.")


class KeyPage(Page[KeyView]):
    """A page of the owner's keys, oldest first; `next` is the `after` of the next page."""


class SessionView(View):
    """The owner whose data a browser or a key has access to."""

    object: Literal["session"]
    owner: str
    key_id: str = Field(description="The key behind the session, which ends when that key is revoked.")
    expires_at: Time | None = Field(description="Null if the request uses the key itself.")


class ActivityView(View):
    """One change: who did what to what, and from where."""

    id: str
    object: Literal["activity_entry", "audit_entry"] = Field(description="`audit_entry` under `/v1/audit`.")
    action: str = Field(description="What was done: an `operationId` of the OpenAPI document, or a command.")
    subject: str | None = Field(description="The id or name of what was changed.")
    key_id: str | None = Field(description="Id of the key that was used. Null: the operator ran a command.")
    address: str | None = Field(description="Network address of the client. Null: the service's own machine.")
    request_id: str | None = Field(description="The `X-Request-ID` of the request, also in the service's log.")
    created_at: Time


class ActivityPage(Page[ActivityView]):
    """A page of the activity log, newest first; `next` is the `after` of the next page."""
