"""Reads events from the database for the hub and the routes, in short transactions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fastapi.sse import format_sse_event

from heldout.views.account import EventView, OwnerEventView
from heldout.views.base import make_view
from models.database import Database
from models.store import events, jobs, keys, owner_events, studies
from models.tables import EventRow

# How many events a stream reads at a time, at its start and when its client is slow.
PAGE = 50


class ChannelKind(StrEnum):
    JOB = "job"
    OWNER = "owner"
    STUDY = "study"


@dataclass(frozen=True, slots=True)
class Channel:
    """What is followed: the events of one job or study, or all events of an owner."""

    kind: ChannelKind
    id: str


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event's number in its channel, and its bytes in a stream."""

    number: int
    text: bytes


@dataclass(frozen=True, slots=True)
class ChannelState:
    """Version of a job or study, whether it has ended, and the number of its last event. Owners have only the last."""

    version: int
    has_ended: bool
    last_event: int


def build_view(channel: Channel, row: EventRow) -> EventView | OwnerEventView:
    """Build the view of an event, with its number in the channel."""
    if channel.kind is not ChannelKind.OWNER:
        return make_view(EventView, row, object="event")
    subject = {"object": row.subject_object, "id": row.subject_id}
    return make_view(OwnerEventView, row, object="event", id=row.owner_number, subject=subject)


def encode_event(view: EventView | OwnerEventView) -> EncodedEvent:
    """Encode an event with its number as `id`, its type as `event`, and its view as `data`."""
    text = format_sse_event(id=str(view.id), event=view.type, data_str=view.model_dump_json())
    return EncodedEvent(view.id, text)


def read_owner_page(database: Database, owner: str, *, after: int, limit: int) -> tuple[Sequence[EventRow], bool]:
    """Read the owner's events above `after`, and whether there are more than `limit`.

    Events committed before the call are numbered first, up to the end of the page.
    """
    may_wait = True
    while True:
        with database.read() as session:
            rows, more = owner_events.list_page(session, owner, after=after, limit=limit)
            if more or not may_wait or not owner_events.list_unnumbered_owners(session, [owner]):
                return rows, more
        with database.write() as session:
            may_wait = owner_events.number(session, owner)


def read_latest_number(database: Database, owner: str) -> int:
    """Read the number of the owner's last event, or 0. Events committed before the call are numbered first."""
    with database.read() as session:
        may_wait = bool(owner_events.list_unnumbered_owners(session, [owner]))
    while may_wait:
        with database.write() as session:
            may_wait = owner_events.number(session, owner)
    with database.read() as session:
        return owner_events.get_last_numbers(session, [owner]).get(owner, 0)


def encode_start(number: int) -> EncodedEvent:
    """Encode a number without an event, so that a client that reconnects before the first event can send it."""
    return EncodedEvent(number, format_sse_event(id=str(number)))


class DatabaseSource:
    """Answers the hub's queries. Each call runs in a thread and may raise a HeldoutError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self, channels: Collection[Channel]) -> Mapping[Channel, ChannelState]:
        """Return the current state of each channel. Deleted ones are missing. Numbers the owners' new events first."""
        found: dict[Channel, ChannelState] = {}
        for kind, get_versions in ((ChannelKind.JOB, jobs.get_versions), (ChannelKind.STUDY, studies.get_versions)):
            if ids := _list_ids(channels, kind):
                with self._database.read() as session:
                    for id_, state in get_versions(session, ids).items():
                        found[Channel(kind, id_)] = ChannelState(*state)
        if owners := _list_ids(channels, ChannelKind.OWNER):
            self._number_events(owners)
            with self._database.read() as session:
                last_numbers = owner_events.get_last_numbers(session, owners)
            for owner in owners:
                last = last_numbers.get(owner, 0)
                found[Channel(ChannelKind.OWNER, owner)] = ChannelState(0, has_ended=False, last_event=last)
        return found

    def page(self, channel: Channel, after: int) -> Sequence[EncodedEvent]:
        """Return the first events of the channel above that number."""
        list_page = owner_events.list_page if channel.kind is ChannelKind.OWNER else events.list_page
        with self._database.read() as session:
            rows, _ = list_page(session, channel.id, after=after, limit=PAGE)
            return [encode_event(build_view(channel, row)) for row in rows]

    def revoked(self, key_ids: Collection[str]) -> Collection[str]:
        """Return the revoked keys among these."""
        with self._database.read() as session:
            return keys.list_revoked(session, key_ids)

    def _number_events(self, owners: Collection[str]) -> None:
        with self._database.read() as session:
            waiting = owner_events.list_unnumbered_owners(session, owners)
        for owner in waiting:
            with self._database.write() as session:
                # No need to wait for another process that is numbering the same events.
                owner_events.number(session, owner, wait=False)


def _list_ids(channels: Collection[Channel], kind: ChannelKind) -> list[str]:
    return [channel.id for channel in channels if channel.kind is kind]
