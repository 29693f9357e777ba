"""How attempts at webhooks end: delivered, tried again, given up; a webhook that fails on end is disabled."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.access.webhooks import is_broken, next_attempt_after
from models.store import events
from models.store.outbox import DELIVERED, FAILED, PENDING, ClaimedDelivery, give_up
from models.tables import DeliveryRow, WebhookRow

STATUS_GONE = 410
# A delivery's log holds its latest attempts.
LOGGED_ATTEMPTS = 20


def settle(
    session: Session, due: ClaimedDelivery, now: datetime, *, status: int | None, error: str | None, milliseconds: int
) -> str | None:
    """Note how an attempt ended, and when the next one is; gives the delivery's status.

    None, and nothing is noted, if the delivery was asked for again, claimed by another sender, or deleted since.
    """
    # The webhook first, as whoever changes or deletes it has it.
    webhook = session.scalars(
        select(WebhookRow).where(WebhookRow.id == due.webhook_id).with_for_update(key_share=True)
    ).one_or_none()
    row = session.scalars(
        select(DeliveryRow)
        .where(DeliveryRow.id == due.id, DeliveryRow.fence == due.fence, DeliveryRow.status == PENDING)
        .with_for_update()
    ).one_or_none()
    if webhook is None or row is None:
        return None
    attempt = {
        "at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "status": status,
        "error": error,
        "milliseconds": milliseconds,
    }
    row.attempts += 1
    row.log = [*row.log, attempt][-LOGGED_ATTEMPTS:]
    row.leased_until = None
    delay_s = next_attempt_after(row.attempts)
    has_arrived = status is not None and 200 <= status < 300
    if has_arrived:
        row.status, row.due_at, row.finished_at = DELIVERED, None, now
    elif status == STATUS_GONE or delay_s is None:
        row.status, row.due_at, row.finished_at = FAILED, None, now
    else:
        row.due_at = now + timedelta(seconds=delay_s)
    why = _count(webhook, now, has_arrived=has_arrived, status=status)
    session.flush()
    if why is not None:
        _disable(session, webhook, why)
    return row.status


def _count(webhook: WebhookRow, now: datetime, *, has_arrived: bool, status: int | None) -> str | None:
    """Count failures since the last success; gives why the webhook is to be disabled, or None."""
    if has_arrived:
        webhook.failures, webhook.failing_since = 0, None
        return None
    webhook.failures += 1
    webhook.failing_since = webhook.failing_since or now
    if status == STATUS_GONE:
        return "Its receiver answered 410 Gone."
    hours = (now - webhook.failing_since).total_seconds() / 3600
    if is_broken(webhook.failures, 3600 * hours):
        return f"{webhook.failures} attempts have failed on end in {hours:.0f} hours."
    return None


def _disable(session: Session, webhook: WebhookRow, why: str) -> None:
    """Disable a webhook, give up what waits for it, and tell its owner by an event."""
    if not webhook.enabled:
        return
    webhook.enabled, webhook.disabled_reason = False, why
    session.flush()
    give_up(session, webhook.id)
    remedy = f"Fix the receiver, then PATCH /v1/webhooks/{webhook.id} with `enabled: true`."
    events.add(session, webhook.id, "webhook.disabled", f"Webhook disabled. {why} {remedy}", level="warning")
