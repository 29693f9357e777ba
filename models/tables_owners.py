"""The tables of owners: their share of the slots, what they may take, and what they have used."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from heldout.work.kinds import JobKind
from models.table_base import Base


class OwnerRow(Base):
    """One owner of keys, jobs and datasets. Its row is written last in a transaction, so that none waits for long."""

    __tablename__ = "owners"
    # The order in which owners come to their turns.
    __table_args__ = (Index("ix_owners_turn", "turn", "owner"),)

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    weight: Mapped[float] = mapped_column(server_default="1")
    used_slot_s: Mapped[float] = mapped_column(server_default="0")  # lately, see analysis/scheduling/fair_share.py
    used_at_s: Mapped[float] = mapped_column(server_default="0")  # seconds since 1970 at which it counted so much
    turn: Mapped[float] = mapped_column(server_default="0")
    quotas: Mapped[dict[str, Any] | None]  # those that differ from the settings'; null in it means no bound
    suspended_at: Mapped[datetime | None]
    held_until: Mapped[datetime | None]  # its slot-seconds of the day are used up: no job of it is claimed before


class UsageRow(Base):
    """What the jobs of one kind that one key has made have used in an hour."""

    __tablename__ = "usage"

    owner: Mapped[str] = mapped_column(String(128), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)  # its beginning
    kind: Mapped[JobKind] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)  # empty: no request made the job
    jobs: Mapped[int] = mapped_column(server_default="0")  # that have run
    slot_s: Mapped[float] = mapped_column(server_default="0")


class _Place:
    """The columns of a place: it counts until `expires_at`, which the API process that has it puts off."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128), index=True)
    expires_at: Mapped[datetime]


class UploadPlaceRow(_Place, Base):
    """An upload that some API process receives now."""

    __tablename__ = "upload_places"


class StreamPlaceRow(_Place, Base):
    """A stream of events that some API process has open."""

    __tablename__ = "stream_places"
