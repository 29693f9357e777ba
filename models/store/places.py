"""Open uploads and streams, counted across all API processes. A place is a row that its process renews."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from heldout.access.rights import Quota
from models.database import db_now
from models.ids import make_id
from models.store import quotas
from models.store.statements import upsert
from models.tables import StreamPlaceRow, UploadPlaceRow

# The places of a dead process expire after this time.
LEASE_S = 60.0

TABLES: Mapping[Quota, type[UploadPlaceRow | StreamPlaceRow]] = {
    Quota.UPLOADS: UploadPlaceRow,
    Quota.STREAMS: StreamPlaceRow,
}


@dataclass(frozen=True)
class SharedPlace:
    """A place that counts for its owner from `take` to `give_back`, or until it was not renewed for `LEASE_S`."""

    id: str
    quota: Quota
    owner: str


def take(session: Session, quota: Quota, owner: str) -> SharedPlace:
    """Take a place for another upload or stream of the owner.

    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    quotas.require_room(session, owner, quota)
    place = SharedPlace(make_id("plc"), quota, owner)
    session.execute(insert(TABLES[quota]).values(id=place.id, owner=owner, expires_at=db_now(LEASE_S)))
    return place


def renew(session: Session, places: Collection[SharedPlace]) -> None:
    """Renew places for `LEASE_S`, and restore those that expired while the database was unreachable."""
    for quota, table in TABLES.items():
        rows = [{"id": place.id, "owner": place.owner} for place in places if place.quota is quota]
        if rows:
            kept = upsert(session, table.__table__).values(expires_at=db_now(LEASE_S))
            until = {"expires_at": kept.excluded.expires_at}
            session.execute(kept.on_conflict_do_update(index_elements=["id"], set_=until), rows)


def give_back(session: Session, places: Collection[SharedPlace]) -> None:
    """Delete the places of uploads and streams that have ended."""
    for quota, table in TABLES.items():
        ids = [place.id for place in places if place.quota is quota]
        if ids:
            session.execute(delete(table).where(table.id.in_(ids)))


def forget_expired(session: Session) -> None:
    """Delete expired places of dead processes, which no longer count."""
    for table in TABLES.values():
        session.execute(delete(table).where(table.expires_at <= db_now()))
