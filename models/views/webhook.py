"""Webhooks' and deliveries' rows as their views."""

from typing import Any

from heldout.views.webhook import DeliveryView, WebhookView, WebhookWithSecret
from models.secret_box import SecretBox
from models.tables import DeliveryRow, WebhookRow


def webhook_view(row: WebhookRow) -> WebhookView:
    """The webhook as its owner sees it."""
    return WebhookView.model_validate(_values(row))


def webhook_with_secret(row: WebhookRow, box: SecretBox) -> WebhookWithSecret:
    """A webhook that was just made or given a new secret."""
    return WebhookWithSecret.model_validate({**_values(row), "secret": box.open(row.secret)})


def delivery_view(row: DeliveryRow) -> DeliveryView:
    """One message to a webhook, with its latest attempts."""
    return DeliveryView.model_validate(
        {
            "id": row.id,
            "object": "delivery",
            "type": row.type,
            "subject": {"object": row.subject_object, "id": row.subject_id},
            "status": row.status,
            "attempts": row.log,
            "next_attempt_at": row.due_at,
            "created_at": row.created_at,
            "finished_at": row.finished_at,
        }
    )


def _values(row: WebhookRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "webhook",
        "url": row.url,
        "events": row.events,
        "enabled": row.enabled,
        "disabled_reason": row.disabled_reason,
        "failures": row.failures,
        "failing_since": row.failing_since,
        "previous_secret_until": row.previous_until,
        "created_at": row.created_at,
    }
