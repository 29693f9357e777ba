"""API keys, the sessions that browsers begin with one, and the audit log of what was done with them."""

from typing import Literal

from pydantic import Field

from heldout.access.scopes import Scope
from heldout.views.base import Time, View
from heldout.views.page import Page


class KeyView(View):
    """A key without its secret, which is not kept."""

    id: str
    object: Literal["key"]
    scopes: list[Scope] = Field(description="`read`, `write`: to change, `admin`: for keys and the audit log.")
    made_by: str | None = Field(description="The id of the key by which it was made; null: by the operator.")
    created_at: Time
    expires_at: Time | None = Field(description="From then on it is refused; null: it has no end.")
    last_used_at: Time | None = Field(description="Known some seconds later; null: never.")
    revoked_at: Time | None


class NewKeyView(KeyView):
    """A key that was just made; `key` is shown this once."""

    key: str = Field(description="`ho_<id>_<secret>`, for the Authorization header.")


class KeyPage(Page[KeyView]):
    """Part of the owner's keys, oldest first; `next` is the `after` of the following part."""


class SessionView(View):
    """The owner whose jobs a browser, or the bearer of a key, sees."""

    object: Literal["session"]
    owner: str
    key_id: str = Field(description="The key that it stands for: it ends when that is revoked.")
    expires_at: Time | None = Field(description="Null where the request bears the key itself.")


class AuditEntryView(View):
    """Somebody changed something of this owner."""

    id: str
    object: Literal["audit_entry"]
    action: str = Field(description="What was done: an operation's name in the OpenAPI document, or a command.")
    subject: str | None = Field(description="To what: an id, or a name.")
    key_id: str | None = Field(description="By which key; null: by the operator, with a command.")
    address: str | None = Field(description="From which network address; null: from the service's own machine.")
    request_id: str | None = Field(description="As in `X-Request-ID`, and in the service's log.")
    created_at: Time


class AuditLogPage(Page[AuditEntryView]):
    """Part of the audit log, newest first; `next` is the `after` of the following part."""
