"""An owner's stream: the events of all that the owner has, in one order.

An event gets its number in this order after its transaction has committed, from the next reader of the stream. Readers
therefore never pass a number that appears later, and writers never wait for each other: see
docs/decisions/0009-owner-numbers-after-commit.md.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import BigInteger, String, column, func, insert, select, update, values
from sqlalchemy.orm import Session

from models.store import statements
from models.tables import EventRow, OwnerStreamRow

# Events that get their numbers in one transaction.
NUMBERED_AT_ONCE = 1000

_UNNUMBERED = EventRow.owner_number.is_(None)


def list_unnumbered_owners(session: Session, owners: Collection[str]) -> list[str]:
    """Which of these owners have committed events without a number."""
    found = session.scalars(select(EventRow.owner).where(EventRow.owner.in_(owners), _UNNUMBERED).distinct())
    return sorted(owner for owner in found if owner is not None)


def number(session: Session, owner: str, *, wait: bool = True) -> bool:
    """Give the next numbers to committed events of the owner; return whether more of them may wait.

    The owner's order is locked until the transaction ends, so that numbers appear in their order.

    Args:
        wait: False leaves the work to another transaction that is doing it now.
    """
    if wait:
        lock_order(session, owner)
    elif not statements.try_lock(session, *_order_of(owner)):
        return False
    last = get_last_numbers(session, [owner]).get(owner)
    # The order of writing keeps each subject's events in order: they were written under the lock of its row.
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
    """Let nobody else number or delete events of the owner until this transaction ends.

    It is the last lock that a transaction takes, so that no two transactions wait for each other.
    """
    statements.lock(session, *_order_of(owner))


def get_last_numbers(session: Session, owners: Collection[str]) -> Mapping[str, int]:
    """The number of each owner's last numbered event; an owner whose events have none yet is absent."""
    last = select(OwnerStreamRow.owner, OwnerStreamRow.last_number).where(OwnerStreamRow.owner.in_(owners))
    return {row.owner: row.last_number for row in session.execute(last)}


def list_page(session: Session, owner: str, *, after: int, limit: int) -> tuple[Sequence[EventRow], bool]:
    """Numbered events above `after` in the owner's order, and whether there are more than `limit`."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.owner == owner, EventRow.owner_number > after)
        .order_by(EventRow.owner_number)
        .limit(limit + 1)
    ).all()
    return rows[:limit], len(rows) > limit


def list_newer(session: Session, after: Mapping[str, int]) -> Sequence[EventRow]:
    """For each owner the numbered events above the given number, in the owner's order."""
    known = values(column("owner", String), column("known", BigInteger), name="known")
    known_of = known.data(list(after.items())).cte("known_of")
    return session.scalars(
        select(EventRow)
        .join(known_of, (EventRow.owner == known_of.c.owner) & (EventRow.owner_number > known_of.c.known))
        .order_by(EventRow.owner, EventRow.owner_number)
    ).all()


def _order_of(owner: str) -> tuple[str, str]:
    return "order of events", owner
