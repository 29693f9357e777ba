"""What belongs to an owner: keys, usage, events, and webhooks with their deliveries."""

from typing import Any, Literal

from pydantic import Field

from heldout.access.rights import Quota, Scope
from heldout.access.webhooks import WebhookEvent
from heldout.views.base import NumberedPage, Page, SubjectView, Time, View
from heldout.views.dataset import DatasetView
from heldout.views.job import JobView
from heldout.views.model import EvaluationView, ModelView
from heldout.views.study import StudyView
from heldout.work.kinds import JobKind


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
    object: Literal["activity_entry"]
    action: str = Field(description="What was done: an `operationId` of the OpenAPI document, or a command.")
    subject: str | None = Field(description="The id or name of what was changed.")
    key_id: str | None = Field(description="Id of the key that was used. Null: the operator ran a command.")
    address: str | None = Field(description="Network address of the client. Null: the service's own machine.")
    request_id: str | None = Field(description="The `X-Request-ID` of the request, also in the service's log.")
    created_at: Time


class ActivityPage(Page[ActivityView]):
    """A page of the activity log, newest first; `next` is the `after` of the next page."""


Bucket = Literal["hour", "day"]
Group = Literal["key", "kind"]


class UsageBucket(View):
    """What jobs used in one hour or day."""

    start: Time
    key_id: str | None = Field(description="Id of the key that ordered them; null if not grouped by it, or unknown.")
    kind: JobKind | None = Field(description="Kind of work; null if not grouped by it.")
    jobs: int = Field(description="Jobs that ran; each counts once, when its first attempt ends.")
    slot_seconds: float = Field(description="Seconds times slots; a job for several GPUs takes that many slots.")


class QuotaView(View):
    """How much of a quota the owner has used, and how much is allowed."""

    quota: Quota
    used: float
    allowed: int | None = Field(description="Null if there is no limit.")


class UsageView(View):
    """Buckets with usage, oldest first, and the current quotas."""

    object: Literal["usage"]
    bucket: Bucket
    group_by: Group | None
    data: list[UsageBucket]
    quotas: list[QuotaView]


class HealthView(View):
    """The service is running."""

    status: Literal["ok"]


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


class OwnerEventView(EventView):
    """Something that happened to a job, a dataset, a study, a model, an evaluation or a webhook of the owner."""

    id: int = Field(
        description="The event's number among all of the owner's events; it grows, with gaps from deleted jobs."
    )
    subject: SubjectView


class OwnerEventPage(NumberedPage[OwnerEventView]):
    """Events of the owner, in order."""


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
