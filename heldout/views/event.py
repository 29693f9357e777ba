"""Events: what happened to a job."""

from typing import Any, Literal

from heldout.views.base import Time, View


class EventView(View):
    """Something that happened to the job; numbered from 1."""

    id: int
    object: Literal["event"]
    type: str
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, Any]
    created_at: Time


class EventPage(View):
    """Part of the events, oldest first. `next` is the `after` of the following part, null at the end."""

    object: Literal["list"]
    data: list[EventView]
    has_more: bool
    next: int | None
