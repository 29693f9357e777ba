"""Events: what happened to a job or a study, or to anything that an owner has."""

from typing import Any, Literal

from pydantic import Field

from heldout.views.base import Time, View
from heldout.views.page import NumberedPage


class EventView(View):
    """Something that happened to the job or the study; numbered from 1."""

    id: int
    object: Literal["event"]
    type: str
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, Any]
    created_at: Time


class EventPage(NumberedPage[EventView]):
    """Events of a job or a study, oldest first."""


class SubjectView(View):
    """What an event, delivery or look at labels is about."""

    object: str = Field(description="`job`, `dataset`, `study`, `model`, `evaluation` or `webhook`.")
    id: str


class OwnerEventView(View):
    """Something that happened to a job, a dataset, a study, a model, an evaluation or a webhook of the owner."""

    id: int = Field(
        description="The event's number among all of the owner's events; it grows, with gaps from deleted jobs."
    )
    object: Literal["event"]
    subject: SubjectView
    type: str
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, Any]
    created_at: Time


class OwnerEventPage(NumberedPage[OwnerEventView]):
    """Events of the owner, in order."""
