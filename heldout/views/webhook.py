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
    failures: int = Field(description="Failed attempts since the last success.")
    failing_since: Time | None = Field(description="Time of the first of these failures.")
    previous_secret_until: Time | None = Field(description="Until then, the previous secret signs messages too.")
    created_at: Time


class WebhookWithSecret(WebhookView):
    """A webhook that was just created or got a new secret, which is only shown once."""

    secret: str = Field(description="`whsec_…`: verify each message with it, as Standard Webhooks specifies.")


class AttemptView(View):
    """One attempt: the status of the response, or why there was none."""

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
    """The message posted to a webhook's URL: the event, its time, and its subject as it was then."""

    type: WebhookEvent | Literal["webhook.ping"]
    timestamp: Time
    data: JobView | DatasetView | StudyView | ModelView | EvaluationView | WebhookView


class WebhookPage(Page[WebhookView]):
    """A page of the owner's webhooks, oldest first; `next` is the `after` of the next page."""


class DeliveryPage(Page[DeliveryView]):
    """A page of a webhook's deliveries, newest first; `next` is the `after` of the next page."""
