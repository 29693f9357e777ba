"""Events: what happened to a job, or to all jobs and datasets of an owner."""

from typing import Any, Literal

from pydantic import Field

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


class SubjectView(View):
    """What something is about: a job or a dataset."""

    object: str = Field(description="`job` or `dataset`.")
    id: str


class OwnerEventView(View):
    """Something that happened to a job or a dataset of the owner."""

    id: int = Field(description="The event's number among all of the owner: grows, with gaps where jobs were deleted.")
    object: Literal["event"]
    subject: SubjectView
    type: str
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, Any]
    created_at: Time


class OwnerEventPage(View):
    """Part of the owner's events, in their order. `next` is the `after` of the following part, null at the end."""

    object: Literal["list"]
    data: list[OwnerEventView]
    has_more: bool
    next: int | None
