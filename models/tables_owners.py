"""The tables of owners: their shares, quotas and usage."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from heldout.work.kinds import JobKind
from models.table_base import Base


class OwnerRow(Base):
    """One owner of keys, jobs and datasets. Transactions lock its row last, and so only briefly."""

    __tablename__ = "owners"
    # The order of owners' turns.
    __table_args__ = (Index("ix_owners_turn", "turn", "owner"),)

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    weight: Mapped[float] = mapped_column(server_default="1")
    used_slot_s: Mapped[float] = mapped_column(
        server_default="0"
    )  # recent usage, see analysis/scheduling/fair_share.py
    used_at_s: Mapped[float] = mapped_column(server_default="0")  # when used_slot_s was computed, in seconds since 1970
    turn: Mapped[float] = mapped_column(server_default="0")
    quotas: Mapped[dict[str, Any] | None]  # those that differ from the settings'; a null value means no bound
    suspended_at: Mapped[datetime | None]
    held_until: Mapped[datetime | None]  # no job is claimed before then: its slot-seconds of the day are used up


class UsageRow(Base):
    """The usage in one hour by jobs of one kind that were created with one key."""

    __tablename__ = "usage"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)  # the start of the hour
    kind: Mapped[JobKind] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)  # empty: not created by a request
    jobs: Mapped[int] = mapped_column(server_default="0")  # jobs run
    slot_s: Mapped[float] = mapped_column(server_default="0")


class _Place:
    """The columns of a place. It counts until `expires_at`, which its API process extends."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    expires_at: Mapped[datetime]


class UploadPlaceRow(_Place, Base):
    """An upload that an API process is receiving."""

    __tablename__ = "upload_places"


class StreamPlaceRow(_Place, Base):
    """A stream of events that an API process has open."""

    __tablename__ = "stream_places"
