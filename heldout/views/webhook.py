"""Webhooks and their deliveries."""

from typing import Literal

from pydantic import Field

from heldout.access.webhooks import WebhookEvent
from heldout.views.base import Time, View
from heldout.views.dataset import DatasetView
from heldout.views.evaluation import EvaluationView
from heldout.views.event import SubjectView
from heldout.views.job import JobView
from heldout.views.model import ModelView
from heldout.views.page import Page
from heldout.views.study import StudyView


class WebhookView(View):
    """A webhook without its secret."""

    id: str
    object: Literal["webhook"]
    url: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    failures: int = Field(description="Attempts that have failed since the last one that succeeded.")
    failing_since: Time | None = Field(description="When the first of them was.")
    previous_secret_until: Time | None = Field(description="Until when the secret before this one signs too.")
    created_at: Time


class WebhookWithSecret(WebhookView):
    """A webhook that was just made or given a new secret, which is shown this once."""

    secret: str = Field(description="`whsec_…`: verify each message with it, as Standard Webhooks has it.")


class AttemptView(View):
    """One attempt: the status that came back, or why none did."""

    at: str
    status: int | None
    error: str | None
    milliseconds: int


class DeliveryView(View):
    """One event for one webhook. Its id is the `webhook-id` of the message, at every attempt."""

    id: str
    object: Literal["delivery"]
    type: str
    subject: SubjectView
    status: Literal["pending", "delivered", "failed"]
    attempts: list[AttemptView]
    next_attempt_at: Time | None
    created_at: Time
    finished_at: Time | None


class WebhookMessage(View):
    """What is posted to a webhook's address: the event, when it happened, and its subject as it was then."""

    type: WebhookEvent | Literal["webhook.ping"]
    timestamp: Time
    data: JobView | DatasetView | StudyView | ModelView | EvaluationView | WebhookView


class WebhookPage(Page[WebhookView]):
    """Part of the owner's webhooks, oldest first; `next` is the `after` of the following part."""


class DeliveryPage(Page[DeliveryView]):
    """Part of a webhook's deliveries, newest first; `next` is the `after` of the following part."""
