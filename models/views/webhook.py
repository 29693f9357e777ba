"""Webhooks' and deliveries' rows as their views."""

from typing import Any

from heldout.views.base import make_view
from heldout.views.webhook import DeliveryView, WebhookView, WebhookWithSecret
from models.secret_box import SecretBox
from models.tables import DeliveryRow, WebhookRow


def build_webhook_view(row: WebhookRow) -> WebhookView:
    """The webhook as its owner sees it."""
    return make_view(WebhookView, row, **_get_differing(row))


def build_webhook_with_secret(row: WebhookRow, box: SecretBox) -> WebhookWithSecret:
    """A webhook that was just made or given a new secret."""
    return make_view(WebhookWithSecret, row, **_get_differing(row), secret=box.open(row.secret))


def build_delivery_view(row: DeliveryRow) -> DeliveryView:
    """One message to a webhook, with its latest attempts."""
    return make_view(
        DeliveryView,
        row,
        object="delivery",
        subject={"object": row.subject_object, "id": row.subject_id},
        attempts=row.log,
        next_attempt_at=row.due_at,
    )


def _get_differing(row: WebhookRow) -> dict[str, Any]:
    return {"object": "webhook", "previous_secret_until": row.previous_until}
