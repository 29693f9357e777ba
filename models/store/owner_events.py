"""An owner's stream: all events of an owner in one sequence.

The next reader of the stream numbers the events, after their transactions have committed. So readers never miss a
number that appears later, and writers never wait for each other: see docs/decisions/0009-owner-numbers-after-commit.md.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from models.store import statements
from models.tables import EventRow, OwnerStreamRow

# How many events one transaction numbers.
NUMBERED_AT_ONCE = 1000

_UNNUMBERED = EventRow.owner_number.is_(None)


def list_unnumbered_owners(session: Session, owners: Collection[str]) -> list[str]:
    """List those of these owners that have committed events without numbers."""
    found = session.scalars(select(EventRow.owner).where(EventRow.owner.in_(owners), _UNNUMBERED).distinct())
    return sorted(owner for owner in found if owner is not None)


def number(session: Session, owner: str, *, wait: bool = True) -> bool:
    """Number the owner's committed events. Returns whether there may be more.

    The owner's order stays locked until the transaction ends, so that numbers appear in sequence.

    Args:
        wait: False leaves the work to another transaction that is already doing it.
    """
    if wait:
        lock_order(session, owner)
    elif not statements.try_lock(session, *_name_lock(owner)):
        return False
    last = get_last_numbers(session, [owner]).get(owner)
    # The write order keeps each subject's events in sequence, because they were written under its row's lock.
    waiting = (
        select(EventRow.position, func.row_number().over(order_by=EventRow.position).label("place"))
        .where(EventRow.owner == owner, _UNNUMBERED)
        .order_by(EventRow.position)
        .limit(NUMBERED_AT_ONCE)
        .subquery()
    )
    numbered = session.scalars(
        update(EventRow)
        .where(EventRow.position == waiting.c.position)
        .values(owner_number=(last or 0) + waiting.c.place)
        .returning(EventRow.owner_number)
    ).all()
    new_last = max((position for position in numbered if position is not None), default=None)
    if new_last is not None:
        change = insert(OwnerStreamRow) if last is None else update(OwnerStreamRow).where(OwnerStreamRow.owner == owner)
        session.execute(change.values(owner=owner, last_number=new_last))
    return len(numbered) == NUMBERED_AT_ONCE


def lock_order(session: Session, owner: str) -> None:
    """Keep others from numbering or deleting events of the owner until this transaction ends.

    This must be the last lock that a transaction takes, to avoid deadlocks.
    """
    statements.lock(session, *_name_lock(owner))


def get_last_numbers(session: Session, owners: Collection[str]) -> Mapping[str, int]:
    """Get the number of each owner's last numbered event. Owners without numbered events are omitted."""
    last = select(OwnerStreamRow.owner, OwnerStreamRow.last_number).where(OwnerStreamRow.owner.in_(owners))
    return {row.owner: row.last_number for row in session.execute(last)}


def list_page(session: Session, owner: str, *, after: int, limit: int) -> tuple[Sequence[EventRow], bool]:
    """List numbered events above `after` in the owner's sequence, and whether there are more than `limit`."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.owner == owner, EventRow.owner_number > after)
        .order_by(EventRow.owner_number)
        .limit(limit + 1)
    ).all()
    return rows[:limit], len(rows) > limit


def _name_lock(owner: str) -> tuple[str, str]:
    return "order of events", owner
