"""Uploads that come now, counted for all API processes together: a place is a row, which its process renews."""

from sqlalchemy import delete, insert, update
from sqlalchemy.orm import Session

from heldout.quotas import Bounds, Quota
from models.database import db_now
from models.ids import new_id
from models.store import quotas
from models.tables_owners import UploadPlaceRow

# The places of a process that died count no longer than this.
LEASE_S = 60.0


def take(session: Session, owner: str, bounds: Bounds) -> str:
    """A place for one more upload of the owner, until `give_back` or for `LEASE_S` seconds.

    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    session.execute(
        delete(UploadPlaceRow).where(UploadPlaceRow.expires_at <= db_now()).execution_options(synchronize_session=False)
    )
    quotas.require_room(session, owner, bounds, Quota.UPLOADS)
    place = new_id("upl")
    session.execute(insert(UploadPlaceRow).values(id=place, owner=owner, expires_at=db_now(LEASE_S)))
    return place


def renew(session: Session, place: str) -> None:
    """Keep a place for `LEASE_S` seconds more."""
    session.execute(
        update(UploadPlaceRow)
        .where(UploadPlaceRow.id == place)
        .values(expires_at=db_now(LEASE_S))
        .execution_options(synchronize_session=False)
    )


def give_back(session: Session, place: str) -> None:
    """The upload has come whole, or was broken off."""
    session.execute(
        delete(UploadPlaceRow).where(UploadPlaceRow.id == place).execution_options(synchronize_session=False)
    )
