"""Webhooks: added, changed and removed by owners, and disabled when their attempts keep failing.

Secrets are encrypted instead of hashed, because each message is signed with them.
"""

import base64
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from heldout.access.webhooks import OLD_SECRET_SIGNS_FOR_S, compute_next_attempt, is_broken
from heldout.errors import WebhookNotFound
from models.database import db_now
from models.ids import make_id
from models.secret_box import SecretBox
from models.store import events
from models.store.outbox import DELIVERED, FAILED, PENDING, ClaimedDelivery, give_up
from models.store.statements import find_one
from models.tables import DeliveryRow, WebhookRow

# The prefix of a secret that is not encrypted.


def add(
    session: Session,
    box: SecretBox,
    owner: str,
    *,
    url: str,
    events: Sequence[str],
    enabled: bool,
    made_by: str | None = None,
) -> WebhookRow:
    """Create a webhook with a new secret.

    Args:
        made_by: the key of the request.
    """
    row = insert(WebhookRow).values(
        id=make_id("wh"),
        owner=owner,
        url=url,
        events=list(events),
        enabled=enabled,
        secret=box.seal(_make_secret()),
        made_by=made_by,
        created_at=db_now(),
    )
    return session.scalars(row.returning(WebhookRow)).one()


def list_of_owner(session: Session, owner: str) -> Sequence[WebhookRow]:
    """List the owner's webhooks, oldest first."""
    return session.scalars(select(WebhookRow).where(WebhookRow.owner == owner).order_by(WebhookRow.id)).all()


def find(session: Session, owner: str, webhook_id: str, *, lock: bool = False) -> WebhookRow:
    """Find the owner's webhook. Raises WebhookNotFound."""
    query = select(WebhookRow).where(WebhookRow.id == webhook_id, WebhookRow.owner == owner)
    return find_one(session, query.with_for_update() if lock else query, WebhookNotFound(webhook_id))


def change(session: Session, owner: str, webhook_id: str, changes: Mapping[str, Any]) -> WebhookRow:
    """Change `url`, `events` and `enabled`. Disabling a webhook fails its waiting deliveries.

    Raises:
        WebhookNotFound.
    """
    row = find(session, owner, webhook_id, lock=True)
    for name, value in changes.items():
        setattr(row, name, value)
    if changes.get("enabled") is True:
        row.disabled_reason, row.failures, row.failing_since = None, 0, None
    if changes.get("enabled") is False:
        row.disabled_reason = "Disabled by its owner."
        give_up(session, webhook_id)
    session.flush()
    return row


def disable_made_by(session: Session, key_ids: Collection[str]) -> None:
    """Disable the webhooks created with these keys, and fail their waiting deliveries."""
    disabled = session.scalars(
        update(WebhookRow)
        .where(WebhookRow.made_by.in_(key_ids), WebhookRow.enabled)
        .values(enabled=False, disabled_reason="The key that created it was revoked.")
        .returning(WebhookRow.id)
    ).all()
    for webhook_id in disabled:
        give_up(session, webhook_id)


def rotate(session: Session, box: SecretBox, owner: str, webhook_id: str) -> WebhookRow:
    """Replace the webhook's secret. For a day, the old one signs, too. Raises WebhookNotFound."""
    row = find(session, owner, webhook_id, lock=True)
    session.execute(
        update(WebhookRow)
        .where(WebhookRow.id == webhook_id)
        .values(
            secret=box.seal(_make_secret()), previous_secret=row.secret, previous_until=db_now(OLD_SECRET_SIGNS_FOR_S)
        )
    )
    session.refresh(row)
    return row


def remove(session: Session, owner: str, webhook_id: str) -> None:
    """Delete a webhook with its deliveries and events. Raises WebhookNotFound."""
    session.delete(find(session, owner, webhook_id, lock=True))
    session.flush()
    events.remove_all(session, owner, [webhook_id])


def _make_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


STATUS_GONE = 410
# How many attempts a delivery's log keeps.
LOGGED_ATTEMPTS = 20


def settle(
    session: Session, due: ClaimedDelivery, now: datetime, *, status: int | None, error: str | None, milliseconds: int
) -> str | None:
    """Record the result of an attempt, and schedule the next one. Returns the delivery's status.

    Does nothing and returns None if the delivery was requested again, claimed by another sender, or deleted.
    """
    # The webhook is locked first, in the same order as by changes and deletions.
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
    delay_s = compute_next_attempt(row.attempts)
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
    """Count failures since the last success. Returns the reason to disable the webhook, or None."""
    if has_arrived:
        webhook.failures, webhook.failing_since = 0, None
        return None
    webhook.failures += 1
    webhook.failing_since = webhook.failing_since or now
    if status == STATUS_GONE:
        return "Its receiver answered 410 Gone."
    hours = (now - webhook.failing_since).total_seconds() / 3600
    if is_broken(webhook.failures, 3600 * hours):
        return f"{webhook.failures} attempts in a row failed within {hours:.0f} hours."
    return None


def _disable(session: Session, webhook: WebhookRow, why: str) -> None:
    """Disable a webhook, fail its waiting deliveries, and notify its owner by an event."""
    if not webhook.enabled:
        return
    webhook.enabled, webhook.disabled_reason = False, why
    session.flush()
    give_up(session, webhook.id)
    remedy = f"Fix the receiver, then PATCH /v1/webhooks/{webhook.id} with `enabled: true`."
    events.add(session, webhook.id, "webhook.disabled", f"Webhook disabled. {why} {remedy}", level="warning")
