"""The tables of who may do what and has done what: keys, log-ins, the activity log; and of webhooks."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.table_base import Base

ALL_SCOPES = '["read", "write", "admin"]'


class KeyRow(Base):
    """An API key: its secret is kept as a hash only."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]] = mapped_column(server_default=text(f"'{ALL_SCOPES}'"))
    made_by: Mapped[str | None] = mapped_column(String(32))  # the key by which it was made; null: by the operator
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # written some seconds later
    revoked_at: Mapped[datetime | None]


class ActivityRow(Base):
    """Who did what to what, from where. Triggers keep entries from being changed, and from going within a day."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_list", "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))  # whose things they are
    key_id: Mapped[str | None] = mapped_column(String(32))  # null: the operator, by a command
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(160))
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(index=True)


class SessionRow(Base):
    """A browser that is logged in by a key, or a link by which one can log in: its secret is kept as a hash only."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    is_link: Mapped[bool]  # good for one log-in, which makes a session of its own
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class WebhookRow(Base):
    """Where an owner wants to hear of events. Secrets are sealed by `models/secret_box.py`: they sign messages."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    enabled: Mapped[bool]
    disabled_reason: Mapped[str | None] = mapped_column(String(128))
    secret: Mapped[str] = mapped_column(Text)
    previous_secret: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[datetime | None]  # the previous secret signs too until then
    made_by: Mapped[str | None] = mapped_column(String(32))  # the key by which it was made
    failures: Mapped[int] = mapped_column(server_default="0")  # attempts since the last one that succeeded
    failing_since: Mapped[datetime | None]  # the first of them
    last_event: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]


class DeliveryRow(Base):
    """One event for one webhook: the outbox while it is pending, the log afterwards."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(
            "ix_webhook_deliveries_due",
            "due_at",
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_webhook_deliveries_list", "webhook_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(32))
    subject_object: Mapped[str] = mapped_column(String(16))  # see heldout/views/event.py
    subject_id: Mapped[str] = mapped_column(String(40))  # its row may be gone
    payload: Mapped[dict[str, Any]]  # the subject's view when the event was written
    status: Mapped[str] = mapped_column(String(16))  # pending, delivered, failed
    attempts: Mapped[int]  # since it was last asked for
    fence: Mapped[int]  # grows with each claim
    log: Mapped[list[Any]]
    due_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
