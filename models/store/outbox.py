"""Deliveries to webhooks: written together with the event, claimed by one sender at a time, and kept as a log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar, cast

import structlog
from sqlalchemy import ColumnElement, Table, delete, insert, inspect, or_, select, update
from sqlalchemy.orm import Session, defer

from analysis.scheduling.fair_share import has_room
from heldout.access.webhooks import PING, SUSPECT_AFTER_FAILURES, WEBHOOK_EVENTS, SubjectObject
from heldout.errors import DeliveryNotFound, SpecUnreadable, WebhookDisabled
from heldout.stored.results import Measurement
from heldout.views.base import View
from models.database import db_now
from models.ids import make_id
from models.store.statements import find_one, select_page
from models.tables import DatasetRow, DeliveryRow, JobRow, ModelRow, ResultRow, StudyRow, WebhookRow
from models.views.dataset import build_dataset_view
from models.views.evaluation import build_evaluation_view, build_model_view
from models.views.job import build_job_view
from models.views.study import build_study_view
from models.views.webhook import build_webhook_view

log = structlog.get_logger()

PENDING = "pending"
DELIVERED = "delivered"
FAILED = "failed"
# The number of due deliveries that one claim considers.
CANDIDATES_PER_CLAIM = 50
LOG_KEPT_DAYS = 7

_WEBHOOKS = cast(Table, WebhookRow.__table__)

Subject = TypeVar("Subject", JobRow, DatasetRow, StudyRow, ModelRow, WebhookRow)


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that this sender has claimed. `fence` distinguishes this claim from later ones."""

    id: str
    fence: int
    webhook_id: str
    owner: str
    url: str
    secrets: tuple[str, ...]  # sealed, newest first
    type: str
    created_at: datetime
    payload: Mapping[str, Any]


def add(session: Session, owner: str, subject_object: SubjectObject, subject_id: str, type_: str) -> None:
    """Add a delivery of an event for each of the owner's subscribed webhooks, with the subject's current state."""
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
        payload = _build_view(session, subject_object, subject_id).model_dump(mode="json")
    except SpecUnreadable as error:
        # The job must not fail because its webhooks cannot be notified.
        log.warning("delivery_not_written", subject=subject_id, type=type_, reason=error.detail)
        return
    for webhook_id in wanting:
        _insert(session, webhook_id, type_, subject_object, subject_id, payload)


def has_webhook(owner: ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether an owner has an enabled webhook, as part of a statement on one of the owner's rows."""
    return select(_WEBHOOKS.c.id).where(_WEBHOOKS.c.owner == owner, _WEBHOOKS.c.enabled).exists()


def ping(session: Session, webhook: WebhookRow) -> DeliveryRow:
    """Add a test message for the webhook, or return the waiting one. The caller has locked the webhook.

    Raises:
        WebhookDisabled.
    """
    if not webhook.enabled:
        raise WebhookDisabled(webhook.id)
    waiting = session.scalars(
        select(DeliveryRow)
        .where(DeliveryRow.webhook_id == webhook.id, DeliveryRow.type == PING, DeliveryRow.status == PENDING)
        .limit(1)
    ).one_or_none()
    if waiting is not None:
        return waiting
    payload = build_webhook_view(webhook).model_dump(mode="json")
    delivery_id = _insert(session, webhook.id, PING, SubjectObject.WEBHOOK, webhook.id, payload)
    return session.get_one(DeliveryRow, delivery_id)


def _insert(
    session: Session,
    webhook_id: str,
    type_: str,
    subject_object: SubjectObject,
    subject_id: str,
    payload: dict[str, Any],
) -> str:
    delivery_id = make_id("msg")
    session.execute(
        insert(DeliveryRow).values(
            id=delivery_id,
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
    return delivery_id


def is_any_due(session: Session, now: datetime | None = None) -> bool:
    """Return whether a delivery is due, by default at the database's time. Cheap and without locks."""
    due = _match_due(db_now() if now is None else now)
    return bool(session.scalar(select(select(DeliveryRow.id).where(*due).exists())))


# How many attempts one sender runs at once. A slow receiver does not delay others.
ATTEMPTS_AT_ONCE = 32
ATTEMPTS_AT_ONCE_PER_OWNER = 6
ATTEMPTS_AT_ONCE_PER_WEBHOOK = 2


def claim(
    session: Session,
    now: datetime,
    running: Mapping[str, int] = MappingProxyType({}),
    of_owners: Mapping[str, int] = MappingProxyType({}),
    *,
    lease_s: float,
) -> list[ClaimedDelivery]:
    """Claim due deliveries while there is room, longest overdue first. During the lease, no one else sends them.

    Args:
        running, of_owners: how many attempts this sender is running for each webhook, and for each owner.
    """
    free = ATTEMPTS_AT_ONCE - sum(running.values())
    full = [webhook_id for webhook_id, count in running.items() if count >= ATTEMPTS_AT_ONCE_PER_WEBHOOK]
    full_owners = [owner for owner, count in of_owners.items() if not has_room(count, free, ATTEMPTS_AT_ONCE_PER_OWNER)]
    candidates = session.execute(
        select(DeliveryRow.id, DeliveryRow.fence, WebhookRow.id, WebhookRow.owner, WebhookRow.failures)
        .join(WebhookRow)
        .where(
            *_match_due(now),
            WebhookRow.id.not_in(full),
            WebhookRow.owner.not_in(full_owners),
            or_(WebhookRow.failures < SUSPECT_AFTER_FAILURES, WebhookRow.id.not_in(list(running))),
        )
        .order_by(DeliveryRow.due_at, DeliveryRow.id)
        .limit(CANDIDATES_PER_CLAIM)
        .with_for_update(skip_locked=True, of=DeliveryRow)
    ).all()
    taken: list[str] = []
    of_webhooks, by_owner = Counter(running), Counter(of_owners)
    for delivery_id, fence, webhook_id, owner, failures in candidates:
        most = 1 if failures >= SUSPECT_AFTER_FAILURES else ATTEMPTS_AT_ONCE_PER_WEBHOOK
        has_place = has_room(by_owner[owner], free - len(taken), ATTEMPTS_AT_ONCE_PER_OWNER)
        if of_webhooks[webhook_id] >= most or not has_place:
            continue
        claimed = session.scalar(
            update(DeliveryRow)
            .where(DeliveryRow.id == delivery_id, DeliveryRow.fence == fence, *_match_due(now))
            .values(fence=fence + 1, leased_until=now + timedelta(seconds=lease_s))
            .returning(DeliveryRow.id)
        )
        if claimed is not None:
            taken.append(delivery_id)
            of_webhooks[webhook_id] += 1
            by_owner[owner] += 1
    rows = session.execute(
        select(DeliveryRow, WebhookRow).join(WebhookRow).where(DeliveryRow.id.in_(taken)).order_by(DeliveryRow.id)
    )
    return [
        ClaimedDelivery(
            id=delivery.id,
            fence=delivery.fence,
            webhook_id=webhook.id,
            owner=webhook.owner,
            url=webhook.url,
            secrets=_get_signing_secrets(webhook, now),
            type=delivery.type,
            created_at=delivery.created_at,
            payload=delivery.payload,
        )
        for delivery, webhook in rows
    ]


def list_page(
    session: Session, webhook_id: str, *, after: str | None, limit: int
) -> tuple[Sequence[DeliveryRow], bool]:
    """List a webhook's deliveries after the id `after`, newest first, and whether there are more than `limit`."""
    query = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id).options(defer(DeliveryRow.payload))
    rows = session.scalars(select_page(query, DeliveryRow.id, after, limit)).all()
    return rows[:limit], len(rows) > limit


def send_again(session: Session, webhook: WebhookRow, delivery_id: str) -> DeliveryRow:
    """Make a delivery due now under the same id, with a fresh count of attempts.

    Raises:
        DeliveryNotFound, WebhookDisabled.
    """
    query = select(DeliveryRow).where(DeliveryRow.id == delivery_id, DeliveryRow.webhook_id == webhook.id)
    row = find_one(session, query.with_for_update(), DeliveryNotFound(delivery_id))
    if not webhook.enabled:
        raise WebhookDisabled(webhook.id)
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.id == delivery_id)
        # A running attempt keeps its lease, but the new fence makes its result irrelevant.
        .values(status=PENDING, attempts=0, fence=DeliveryRow.fence + 1, due_at=db_now(), finished_at=None)
    )
    session.refresh(row)
    return row


def give_up(session: Session, webhook_id: str) -> None:
    """Fail all deliveries that wait for a webhook."""
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.status == PENDING)
        .values(status=FAILED, due_at=None, leased_until=None, finished_at=db_now())
    )


def forget_old(session: Session, now: datetime) -> None:
    """Delete deliveries from the log a week after their events."""
    session.execute(delete(DeliveryRow).where(DeliveryRow.created_at < now - timedelta(days=LOG_KEPT_DAYS)))


def _match_due(now: datetime | db_now) -> tuple[Any, ...]:
    return (
        DeliveryRow.status == PENDING,
        DeliveryRow.due_at <= now,
        or_(DeliveryRow.leased_until.is_(None), DeliveryRow.leased_until < now),
    )


def _get_signing_secrets(webhook: WebhookRow, now: datetime) -> tuple[str, ...]:
    old = webhook.previous_secret
    if old is not None and webhook.previous_until is not None and now < webhook.previous_until:
        return webhook.secret, old
    return (webhook.secret,)


def _build_view(session: Session, subject_object: SubjectObject, subject_id: str) -> View:
    """Build the view of the subject as this transaction has left it."""
    if subject_object is SubjectObject.DATASET:
        return build_dataset_view(_read(session, DatasetRow, subject_id), with_changes=False)
    if subject_object is SubjectObject.STUDY:
        study = _read(session, StudyRow, subject_id)
        return build_study_view(study, _read(session, DatasetRow, study.dataset_id))
    if subject_object is SubjectObject.MODEL:
        return build_model_view(_read(session, ModelRow, subject_id), with_layers=False)
    if subject_object is SubjectObject.WEBHOOK:
        return build_webhook_view(_read(session, WebhookRow, subject_id))
    job = _read(session, JobRow, subject_id)
    dataset = _read(session, DatasetRow, job.dataset_id)
    if subject_object is SubjectObject.EVALUATION:
        final = session.scalar(select(ResultRow.final).where(ResultRow.job_id == job.id))
        return build_evaluation_view(job, dataset, None if final is None else Measurement.model_validate(final))
    return build_job_view(job, dataset)


def _read(session: Session, table: type[Subject], id_: str | None) -> Subject:
    """Read the row from the database, because an object loaded by the session may be outdated."""
    names = [column.key for column in inspect(table).column_attrs]
    found = session.execute(select(*(getattr(table, name).label(name) for name in names)).where(table.id == id_)).one()
    return table(**found._mapping)
