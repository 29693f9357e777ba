"""The activity log: who did what to what, from where. Entries are added with the change itself, and never changed."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.orm import Session

from models.database import db_now
from models.ids import make_id
from models.store.statements import select_page
from models.tables import ActivityRow

MAX_SUBJECT_CHARACTERS = 160
FORGOTTEN_AT_ONCE = 10_000
# Built once, since each change executes it.
_INSERT = insert(cast(Table, ActivityRow.__table__)).values(created_at=db_now())


def add(
    session: Session,
    owner: str,
    action: str,
    *,
    subject: str | None = None,
    key_id: str | None = None,
    address: str | None = None,
    request_id: str | None = None,
) -> None:
    """Add an entry, in the transaction that makes the change.

    Args:
        owner: the owner of the changed thing.
        action: the operation's id in the OpenAPI document, or the name of a command.
        key_id, address: None if the operator used a command.
    """
    values = {
        "id": make_id("aud"),
        "owner": owner,
        "key_id": key_id,
        "action": action,
        "subject": None if subject is None else subject[:MAX_SUBJECT_CHARACTERS],
        "address": None if address is None else address[:64],
        "request_id": request_id,
    }
    session.execute(_INSERT, values)


def list_page(
    session: Session,
    owner: str,
    *,
    after: str | None,
    limit: int,
    action: str | None = None,
    key_id: str | None = None,
    subject: str | None = None,
) -> tuple[Sequence[ActivityRow], bool]:
    """List the owner's entries after the id `after`, newest first, and whether there are more than `limit`."""
    query = select(ActivityRow).where(ActivityRow.owner == owner)
    for column, wanted in ((ActivityRow.action, action), (ActivityRow.key_id, key_id), (ActivityRow.subject, subject)):
        if wanted is not None:
            query = query.where(column == wanted)
    rows = session.scalars(select_page(query, ActivityRow.id, after, limit)).all()
    return rows[:limit], len(rows) > limit


def forget_old(session: Session, keep_s: float) -> None:
    """Delete some entries older than `keep_s` seconds, which must be at least a day."""
    old = select(ActivityRow.id).where(ActivityRow.created_at < db_now(-keep_s)).limit(FORGOTTEN_AT_ONCE)
    session.execute(delete(ActivityRow).where(ActivityRow.id.in_(old)))
