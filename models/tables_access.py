"""The tables of keys, sessions, the activity log, and webhooks."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.table_base import Base

ALL_SCOPES = '["read", "write", "admin"]'


class KeyRow(Base):
    """An API key. Only a hash of its secret is stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]] = mapped_column(server_default=text(f"'{ALL_SCOPES}'"))
    made_by: Mapped[str | None] = mapped_column(String(32))  # the key that created it; null: the operator
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # written some seconds later
    revoked_at: Mapped[datetime | None]


class ActivityRow(Base):
    """Who did what to what, from where. Triggers prevent changes, and deletions within a day."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_list", "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))  # the owner of the changed thing
    key_id: Mapped[str | None] = mapped_column(String(32))  # null: the operator, with a command
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(160))
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(index=True)


class SessionRow(Base):
    """A browser's session, or a link to log in with. Only a hash of its secret is stored."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    is_link: Mapped[bool]  # valid for one log-in, which creates a separate session
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class WebhookRow(Base):
    """An address that an owner's events are sent to. Secrets are encrypted by `models/secret_box.py`."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    enabled: Mapped[bool]
    disabled_reason: Mapped[str | None] = mapped_column(String(128))
    secret: Mapped[str] = mapped_column(Text)
    previous_secret: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[datetime | None]  # until then, the previous secret also signs
    made_by: Mapped[str | None] = mapped_column(String(32))  # the key that created it
    failures: Mapped[int] = mapped_column(server_default="0")  # failed attempts since the last success
    failing_since: Mapped[datetime | None]  # time of the first of them
    last_event: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]


class DeliveryRow(Base):
    """One event for one webhook: part of the outbox while it is pending, and of the log afterwards."""

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
    subject_object: Mapped[str] = mapped_column(String(16))  # see heldout/views/account.py
    subject_id: Mapped[str] = mapped_column(String(40))  # its row may be gone
    payload: Mapped[dict[str, Any]]  # the subject's view at the time of the event
    status: Mapped[str] = mapped_column(String(16))  # pending, delivered, failed
    attempts: Mapped[int]  # since it was last requested
    fence: Mapped[int]  # grows with each claim
    log: Mapped[list[Any]]
    due_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
