"""Deliveries to webhooks: written with the event itself, claimed by one sender at a time, kept as a log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import delete, insert, inspect, or_, select, update
from sqlalchemy.orm import Session

from heldout.errors import DeliveryNotFound, SpecUnreadable, WebhookDisabled
from heldout.views.base import View
from heldout.views.event import SubjectObject
from heldout.webhooks import WEBHOOK_EVENTS, next_attempt_after
from models.database import db_now
from models.ids import new_id
from models.tables import DatasetRow, DeliveryRow, JobRow, StudyRow, WebhookRow
from models.views.dataset import dataset_view
from models.views.job import job_view
from models.views.study import study_view

log = structlog.get_logger()

PENDING = "pending"
DELIVERED = "delivered"
FAILED = "failed"
STATUS_GONE = 410
# A delivery's log holds its latest attempts.
LOGGED_ATTEMPTS = 20
# Due deliveries that one claim looks at.
CANDIDATES_PER_CLAIM = 50
LOG_KEPT_DAYS = 7

Subject = TypeVar("Subject", JobRow, DatasetRow, StudyRow)


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that this sender has claimed; `fence` tells its claim from later ones."""

    id: str
    fence: int
    webhook_id: str
    url: str
    secrets: tuple[str, ...]  # the newest first
    type: str
    created_at: datetime
    payload: Mapping[str, Any]


def add(session: Session, owner: str, subject_object: SubjectObject, subject_id: str, type_: str) -> None:
    """Write a delivery of an event for each of the owner's webhooks that wants it, with the subject as it is now."""
    if type_ not in WEBHOOK_EVENTS:
        return
    wanting = [
        webhook_id
        for webhook_id, wanted in session.execute(
            select(WebhookRow.id, WebhookRow.events).where(WebhookRow.owner == owner, WebhookRow.enabled)
        )
        if type_ in wanted
    ]
    if not wanting:
        return
    try:
        payload = _view_of(session, subject_object, subject_id).model_dump(mode="json")
    except SpecUnreadable as error:
        # What happens to the job must not depend on whether its webhooks can be told.
        log.warning("delivery_not_written", subject=subject_id, type=type_, reason=error.detail)
        return
    for webhook_id in wanting:
        session.execute(
            insert(DeliveryRow).values(
                id=new_id("msg"),
                webhook_id=webhook_id,
                type=type_,
                subject_object=subject_object,
                subject_id=subject_id,
                payload=payload,
                status=PENDING,
                attempts=0,
                fence=0,
                log=[],
                due_at=db_now(),
                created_at=db_now(),
            )
        )


def any_due(session: Session, now: datetime) -> bool:
    """Whether there is something to claim: cheap, takes no lock."""
    return bool(session.scalar(select(select(DeliveryRow.id).where(*_due_at(now)).exists())))


def claim(
    session: Session, now: datetime, *, limit: int, limit_per_webhook: int, in_flight: Mapping[str, int], lease_s: float
) -> list[ClaimedDelivery]:
    """Claim up to `limit` due deliveries, the longest overdue first; nobody else sends them within the lease.

    Args:
        limit_per_webhook: attempts at one webhook at a time, so that a slow one does not hold up the others;
            `in_flight` counts those that this sender has already.
    """
    full = [webhook_id for webhook_id, count in in_flight.items() if count >= limit_per_webhook]
    candidates = session.execute(
        select(DeliveryRow.id, DeliveryRow.fence, DeliveryRow.webhook_id)
        .where(*_due_at(now), DeliveryRow.webhook_id.not_in(full))
        .order_by(DeliveryRow.due_at, DeliveryRow.id)
        .limit(CANDIDATES_PER_CLAIM)
        .with_for_update(skip_locked=True)
    ).all()
    taken: list[str] = []
    held = dict(in_flight)
    for delivery_id, fence, webhook_id in candidates:
        if len(taken) == limit or held.get(webhook_id, 0) >= limit_per_webhook:
            continue
        claimed = session.scalar(
            update(DeliveryRow)
            .where(DeliveryRow.id == delivery_id, DeliveryRow.fence == fence, *_due_at(now))
            .values(fence=fence + 1, leased_until=now + timedelta(seconds=lease_s))
            .returning(DeliveryRow.id)
            .execution_options(synchronize_session=False)
        )
        if claimed is not None:
            taken.append(delivery_id)
            held[webhook_id] = held.get(webhook_id, 0) + 1
    rows = session.execute(
        select(DeliveryRow, WebhookRow).join(WebhookRow).where(DeliveryRow.id.in_(taken)).order_by(DeliveryRow.id)
    )
    return [
        ClaimedDelivery(
            id=delivery.id,
            fence=delivery.fence,
            webhook_id=webhook.id,
            url=webhook.url,
            secrets=_signing(webhook, now),
            type=delivery.type,
            created_at=delivery.created_at,
            payload=delivery.payload,
        )
        for delivery, webhook in rows
    ]


def settle(
    session: Session, due: ClaimedDelivery, now: datetime, *, status: int | None, error: str | None, milliseconds: int
) -> str | None:
    """Note how an attempt ended, and when the next one is; gives the delivery's status.

    None, and nothing is noted, if the delivery was asked for again, claimed by another sender, or deleted since.
    """
    row = session.scalars(
        select(DeliveryRow)
        .where(DeliveryRow.id == due.id, DeliveryRow.fence == due.fence, DeliveryRow.status == PENDING)
        .with_for_update()
    ).one_or_none()
    if row is None:
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
    if status is not None and 200 <= status < 300:
        row.status, row.due_at, row.finished_at = DELIVERED, None, now
    elif status == STATUS_GONE or delay_s is None:
        row.status, row.due_at, row.finished_at = FAILED, None, now
    else:
        row.due_at = now + timedelta(seconds=delay_s)
    session.flush()
    if status == STATUS_GONE:
        _disable(session, due.webhook_id)
    return row.status


def page(session: Session, webhook_id: str, *, after: str | None, limit: int) -> tuple[Sequence[DeliveryRow], bool]:
    """A webhook's deliveries, newest first, and whether there are more than `limit` after the id `after`."""
    query = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id)
    if after is not None:
        query = query.where(DeliveryRow.id < after)
    rows = session.scalars(query.order_by(DeliveryRow.id.desc()).limit(limit + 1)).all()
    return rows[:limit], len(rows) > limit


def send_again(session: Session, webhook: WebhookRow, delivery_id: str) -> DeliveryRow:
    """Make a delivery due now, with all its attempts before it, under the same id.

    Raises:
        DeliveryNotFound, WebhookDisabled.
    """
    row = session.scalars(
        select(DeliveryRow).where(DeliveryRow.id == delivery_id, DeliveryRow.webhook_id == webhook.id).with_for_update()
    ).one_or_none()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    if not webhook.enabled:
        raise WebhookDisabled(webhook.id)
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.id == delivery_id)
        # An attempt that is under way keeps its lease, and its end is not taken for that of this request.
        .values(status=PENDING, attempts=0, fence=DeliveryRow.fence + 1, due_at=db_now(), finished_at=None)
        .execution_options(synchronize_session=False)
    )
    session.refresh(row)
    return row


def give_up(session: Session, webhook_id: str) -> None:
    """End all that waits to be sent to a webhook."""
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.status == PENDING)
        .values(status=FAILED, due_at=None, leased_until=None, finished_at=db_now())
        .execution_options(synchronize_session=False)
    )


def forget_old(session: Session, now: datetime) -> None:
    """Remove deliveries from the log a week after their events."""
    session.execute(delete(DeliveryRow).where(DeliveryRow.created_at < now - timedelta(days=LOG_KEPT_DAYS)))


def _due_at(now: datetime) -> tuple[Any, ...]:
    return (
        DeliveryRow.status == PENDING,
        DeliveryRow.due_at <= now,
        or_(DeliveryRow.leased_until.is_(None), DeliveryRow.leased_until < now),
    )


def _disable(session: Session, webhook_id: str) -> None:
    session.execute(
        update(WebhookRow)
        .where(WebhookRow.id == webhook_id)
        .values(enabled=False, disabled_reason="Its receiver answered 410 Gone.")
        .execution_options(synchronize_session=False)
    )
    give_up(session, webhook_id)


def _signing(webhook: WebhookRow, now: datetime) -> tuple[str, ...]:
    old = webhook.previous_secret
    if old is not None and webhook.previous_until is not None and now < webhook.previous_until:
        return webhook.secret, old
    return (webhook.secret,)


def _view_of(session: Session, subject_object: SubjectObject, subject_id: str) -> View:
    """The subject as this transaction has left it."""
    if subject_object is SubjectObject.DATASET:
        return dataset_view(_read(session, DatasetRow, subject_id), with_changes=False)
    if subject_object is SubjectObject.STUDY:
        study = _read(session, StudyRow, subject_id)
        return study_view(study, _read(session, DatasetRow, study.dataset_id))
    job = _read(session, JobRow, subject_id)
    return job_view(job, _read(session, DatasetRow, job.dataset_id))


def _read(session: Session, table: type[Subject], id_: str | None) -> Subject:
    """A copy of the row in the database: the object that the session has loaded may be older."""
    names = [column.key for column in inspect(table).column_attrs]
    found = session.execute(select(*(getattr(table, name).label(name) for name in names)).where(table.id == id_)).one()
    return table(**found._mapping)
