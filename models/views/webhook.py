"""Webhooks' and deliveries' rows as their views."""

from typing import Any

from heldout.views.base import view_of
from heldout.views.webhook import DeliveryView, WebhookView, WebhookWithSecret
from models.secret_box import SecretBox
from models.tables import DeliveryRow, WebhookRow


def webhook_view(row: WebhookRow) -> WebhookView:
    """The webhook as its owner sees it."""
    return view_of(WebhookView, row, **_differing(row))


def webhook_with_secret(row: WebhookRow, box: SecretBox) -> WebhookWithSecret:
    """A webhook that was just made or given a new secret."""
    return view_of(WebhookWithSecret, row, **_differing(row), secret=box.open(row.secret))


def delivery_view(row: DeliveryRow) -> DeliveryView:
    """One message to a webhook, with its latest attempts."""
    return view_of(
        DeliveryView,
        row,
        object="delivery",
        subject={"object": row.subject_object, "id": row.subject_id},
        attempts=row.log,
        next_attempt_at=row.due_at,
    )


def _differing(row: WebhookRow) -> dict[str, Any]:
    return {"object": "webhook", "previous_secret_until": row.previous_until}
