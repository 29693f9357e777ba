"""Entries of the audit log."""

from typing import Literal

from pydantic import Field

from heldout.views.base import Time, View
from heldout.views.page import Page


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
