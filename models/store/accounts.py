"""Accounts of owners: their standing in the fair share, and their hourly usage.

Charges noted during a transaction are written right before its commit, in the order of owners. So rows of owners are
always locked last and in the same order: transactions cannot deadlock, and hold the locks only briefly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Float, String, Table, bindparam, event, select, update
from sqlalchemy.orm import Session

from analysis.scheduling.fair_share import (
    CLAIM_CHARGE_S,
    OwnerStanding,
    add_charge,
    charge_at_end,
    charge_while_running,
    compute_turn,
    count_slots,
)
from heldout.work.kinds import KINDS, JobKind
from models.database import db_now
from models.store.statements import upsert
from models.tables import JobRow, OwnerRow, UsageRow

_NOTES = "charges"
_KEY = "key_id"
_KNOWN = "known_owner"


@dataclass
class _Charge:
    """The charge of one transaction to one owner."""

    turn_s: float = 0.0  # charged to its standing, in slot-seconds
    seen: OwnerStanding | None = None  # the standing as read at `at`
    at: datetime | None = None
    held_until: datetime | None = None
    used: dict[tuple[JobKind, str], list[float]] = field(default_factory=dict)  # jobs run, slot-seconds


def note_key(session: Session, key_id: str) -> None:
    """Note the API key that requested the jobs of this transaction."""
    session.info[_KEY] = key_id


def get_request_key(session: Session) -> str | None:
    """Get the API key of the request that this transaction serves, if any."""
    key_id: str | None = session.info.get(_KEY)
    return key_id


def note_owner_exists(session: Session, owner: str) -> None:
    """Note that this transaction has seen the owner's row. Rows of owners are never deleted."""
    session.info[_KNOWN] = owner


def ensure_owner(session: Session, owner: str) -> None:
    """Add the owner's row if it is missing."""
    if session.info.get(_KNOWN) == owner:
        return
    session.execute(upsert(session, OwnerRow).values(owner=owner).on_conflict_do_nothing())
    note_owner_exists(session, owner)


def charge_claim(session: Session, job: JobRow, *, seen: OwnerStanding, at: datetime) -> None:
    """Charge the owner of a job for its claim. seen: the owner's standing as this transaction read it at `at`."""
    if KINDS[job.kind].takes_slot:
        charge = _get_charge(session, job.owner)
        charge.seen, charge.at = seen, at
        charge.turn_s += CLAIM_CHARGE_S * count_slots(job.gpus)


def charge_running(session: Session, job: JobRow, elapsed_s: float) -> None:
    """Charge an owner for a running attempt's time until now. The job's row is locked."""
    if KINDS[job.kind].takes_slot:
        slots = count_slots(job.gpus)
        turn_s = charge_while_running(job.charged_s, elapsed_s) * slots
        _note(session, job, turn_s=turn_s, slot_s=(elapsed_s - job.charged_s) * slots)
        session.execute(update(JobRow).where(JobRow.id == job.id).values(charged_s=elapsed_s))


def charge_end(session: Session, job: JobRow, elapsed_s: float) -> None:
    """Charge an owner for an attempt that ends now. `job` is the row from while it ran."""
    if KINDS[job.kind].takes_slot:
        slots = count_slots(job.gpus)
        turn_s = charge_at_end(job.charged_s, elapsed_s) * slots
        slot_s = max(0.0, elapsed_s - job.charged_s) * slots
        _note(session, job, turn_s=turn_s, slot_s=slot_s, jobs=1 if job.attempt == 1 else 0)


def get_standing(row: OwnerRow) -> OwnerStanding:
    return OwnerStanding(weight=row.weight, used_slot_s=row.used_slot_s, at_s=row.used_at_s)


def note_hold(session: Session, owner: str, until: datetime) -> None:
    """Prevent claims of the owner's jobs before that time."""
    _get_charge(session, owner).held_until = until


def _note(session: Session, job: JobRow, *, turn_s: float, slot_s: float, jobs: int = 0) -> None:
    charge = _get_charge(session, job.owner)
    charge.turn_s += turn_s
    used = charge.used.setdefault((job.kind, job.key_id or ""), [0, 0.0])
    used[0] += jobs
    used[1] += slot_s


def _get_charge(session: Session, owner: str) -> _Charge:
    notes: dict[str, _Charge] = session.info.setdefault(_NOTES, {})
    return notes.setdefault(owner, _Charge())


# Listens to all sessions, because registering a listener per session takes as long as a statement.
@event.listens_for(Session, "before_commit")
def _write_notes(session: Session) -> None:
    notes: dict[str, _Charge] | None = session.info.get(_NOTES)
    if not notes or session.in_nested_transaction():
        return  # releasing a savepoint is not a commit
    session.flush()
    for owner in sorted(notes):
        _write_charge(session, owner, notes[owner])
    notes.clear()


def _write_charge(session: Session, owner: str, charge: _Charge) -> None:
    if charge.seen is None or charge.at is None or not _charge_as_seen(session, owner, charge, charge.seen, charge.at):
        row, at = lock_owner(session, owner)
        write_standing(session, owner, add_charge(get_standing(row), charge.turn_s, at.timestamp()))
        hour = at.replace(minute=0, second=0, microsecond=0)
        for (kind, key_id), (jobs, slot_s) in sorted(charge.used.items()):
            about = {"owner": owner, "hour": hour, "kind": kind, "key_id": key_id}
            _add_usage(session, about, {"jobs": jobs, "slot_s": slot_s})
    if charge.held_until is not None:
        hold = update(OwnerRow).where(OwnerRow.owner == owner).values(held_until=charge.held_until)
        session.execute(hold)


_OWNERS = cast(Table, OwnerRow.__table__)
# Built once, since each claim executes it.
_CHARGE_AS_SEEN = (
    update(_OWNERS)
    .where(
        _OWNERS.c.owner == bindparam("name", type_=String),
        _OWNERS.c.weight == bindparam("seen_weight", type_=Float),
        _OWNERS.c.used_slot_s == bindparam("seen_slot_s", type_=Float),
        _OWNERS.c.used_at_s == bindparam("seen_at_s", type_=Float),
    )
    .values(
        used_slot_s=bindparam("slot_s", type_=Float),
        used_at_s=bindparam("at_s", type_=Float),
        turn=bindparam("next_turn", type_=Float),
    )
    .returning(_OWNERS.c.owner)
)


def _charge_as_seen(session: Session, owner: str, charge: _Charge, seen: OwnerStanding, at: datetime) -> bool:
    """Charge a single claim in one statement. Returns False without writing if others have charged meanwhile."""
    if charge.used:
        return False
    after = add_charge(seen, charge.turn_s, at.timestamp())
    values = {
        "name": owner,
        "seen_weight": seen.weight,
        "seen_slot_s": seen.used_slot_s,
        "seen_at_s": seen.at_s,
        "slot_s": after.used_slot_s,
        "at_s": after.at_s,
        "next_turn": compute_turn(after),
    }
    return session.execute(_CHARGE_AS_SEEN, values).one_or_none() is not None


def lock_owner(session: Session, owner: str) -> tuple[OwnerRow, datetime]:
    """Lock the owner's row until the transaction ends, so do this last. Returns the row and the database's time."""
    query = select(OwnerRow, db_now()).where(OwnerRow.owner == owner).with_for_update()
    query = query.execution_options(populate_existing=True)
    found = session.execute(query).one_or_none()
    if found is None:
        ensure_owner(session, owner)
        found = session.execute(query).one()
    return found[0], found[1]


def write_standing(session: Session, owner: str, standing: OwnerStanding) -> None:
    """Write a standing and its turn."""
    session.execute(
        update(OwnerRow)
        .where(OwnerRow.owner == owner)
        .values(
            weight=standing.weight,
            used_slot_s=standing.used_slot_s,
            used_at_s=standing.at_s,
            turn=compute_turn(standing),
        )
    )


def _add_usage(session: Session, about: Mapping[str, Any], amounts: Mapping[str, float]) -> None:
    if not any(amounts.values()):
        return
    row = upsert(session, UsageRow).values(**about, **amounts)
    more = {name: getattr(UsageRow, name) + amount for name, amount in amounts.items()}
    session.execute(row.on_conflict_do_update(index_elements=list(about), set_=more))
