"""Builds the views of webhooks and deliveries."""

from typing import Any

from heldout.views.account import DeliveryView, WebhookView, WebhookWithSecret
from heldout.views.base import make_view
from models.secret_box import SecretBox
from models.tables import DeliveryRow, WebhookRow


def build_webhook_view(row: WebhookRow) -> WebhookView:
    """Build the view of a webhook."""
    return make_view(WebhookView, row, **_get_other_fields(row))


def build_webhook_with_secret(row: WebhookRow, box: SecretBox) -> WebhookWithSecret:
    """Build the view of a new webhook, or of one with a new secret."""
    return make_view(WebhookWithSecret, row, **_get_other_fields(row), secret=box.open(row.secret))


def build_delivery_view(row: DeliveryRow) -> DeliveryView:
    """Build the view of a delivery, with its latest attempts."""
    return make_view(
        DeliveryView,
        row,
        object="delivery",
        subject={"object": row.subject_object, "id": row.subject_id},
        attempts=row.log,
        next_attempt_at=row.due_at,
    )


def _get_other_fields(row: WebhookRow) -> dict[str, Any]:
    return {"object": "webhook", "previous_secret_until": row.previous_until}
