"""API keys: hashed at rest, owned, with scopes and an end, revocable together with what they have made."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from heldout.access.scopes import SCOPES, Scope
from heldout.errors import KeyNotFound, KeyRefused, Unauthenticated
from models.database import db_now
from models.store import webhooks
from models.tables import KeyRow

PREFIX = "ho"
LISTED_OVER = 500

# Built once, of columns rather than of the row as an object: this precedes every request.
KEY_TABLE = KeyRow.__table__
IS_OVER = or_(KEY_TABLE.c.revoked_at.is_not(None), func.coalesce(KEY_TABLE.c.expires_at <= db_now(), False))
CALLER_COLUMNS = (KEY_TABLE.c.owner, KEY_TABLE.c.secret_sha256, KEY_TABLE.c.scopes, IS_OVER.label("is_over"))
_KNOWN = select(*CALLER_COLUMNS).where(KEY_TABLE.c.id == bindparam("key_id"))


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the owner of the key that it bears, and what the key may do."""

    owner: str
    key_id: str
    scopes: frozenset[str] = frozenset(SCOPES)


def make(
    session: Session,
    owner: str,
    secret: str | None = None,
    *,
    scopes: Collection[Scope] = SCOPES,
    expires_at: datetime | None = None,
    made_by: str | None = None,
) -> str:
    """Make a key and give back its text, which is not kept: `ho_<id>_<secret>`.

    Args:
        secret: drawn where none is given.
        made_by: the key that asks for it: the new one may do no more, and lasts no longer.
    Raises:
        KeyRefused: it would, or its end has passed already.
    """
    now = session.scalar(select(db_now()))
    if expires_at is not None and now is not None and expires_at <= now:
        raise KeyRefused("/expires_at", f"Received {expires_at.isoformat()}, which has passed; send a later moment.")
    maker = None if made_by is None else session.get(KeyRow, made_by)
    if maker is not None:
        more = [scope for scope in scopes if scope not in maker.scopes]
        if more:
            raise KeyRefused("/scopes", f"The key of this request has no scope {more[0]!r}, so it can give none.")
        if maker.expires_at is not None:
            expires_at = expires_at or maker.expires_at
            if expires_at > maker.expires_at:
                at = maker.expires_at.isoformat()
                raise KeyRefused("/expires_at", f"The key of this request ends at {at}; what it makes ends no later.")
    key_id, secret = secrets.token_hex(6), secret or secrets.token_urlsafe(32)
    session.execute(
        insert(KeyRow).values(
            id=key_id,
            owner=owner,
            secret_sha256=_hash(secret),
            scopes=[scope for scope in SCOPES if scope in scopes],
            made_by=made_by,
            created_at=db_now(),
            expires_at=expires_at,
            revoked_at=None,
        )
    )
    return format_key(key_id, secret)


def format_key(key_id: str, secret: str) -> str:
    return f"{PREFIX}_{key_id}_{secret}"


def make_salt() -> str:
    """What `derive_secret` makes a secret of: 256 random bits."""
    return secrets.token_hex(32)


def derive_secret(key: str, salt: str) -> str:
    """A secret of 256 bits for another key. Who knows it has both the key that asked for it, and the salt."""
    made = hmac.digest(key.encode(), salt.encode(), "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def roll(
    session: Session,
    owner: str,
    key_id: str,
    secret: str | None = None,
    *,
    overlap_s: float,
    made_by: str | None = None,
) -> str:
    """Make a key that takes another one's place, with its scopes and its end; the old one works for a while yet.

    Args:
        secret: the new one's; drawn where none is given.
        overlap_s: seconds in which both work; an earlier end of the old one stays.
        made_by: the key that asks for it, as for `make`.
    Raises:
        KeyNotFound: the owner has no such key, or it is over.
        KeyRefused.
    """
    old = session.scalars(
        select(KeyRow).where(KeyRow.id == key_id, KeyRow.owner == owner, ~IS_OVER).with_for_update()
    ).one_or_none()
    if old is None:
        raise KeyNotFound(key_id)
    text = make(session, owner, secret, scopes=old.scopes, expires_at=old.expires_at, made_by=made_by)
    ends = db_now(overlap_s)
    session.execute(
        update(KeyRow)
        .where(KeyRow.id == key_id, or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > ends))
        .values(expires_at=ends)
    )
    return text


def find_caller(session: Session, key: str) -> Caller | None:
    """The owner of a key, or None if it is malformed, unknown or revoked."""
    key_id, secret = split_key(key)
    row = session.execute(_KNOWN, {"key_id": key_id}).one_or_none() if secret else None
    return get_valid_caller(key_id, secret, row)


def is_well_formed(key: str) -> bool:
    """Whether it has the form of a key; what has not is no key, and need not be looked up."""
    return split_key(key)[1] != ""


def split_key(key: str) -> tuple[str, str]:
    """Id and secret of a key; an empty secret, which none has, if it is malformed."""
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    return ("", "") if prefix != PREFIX or len(key) > 200 or not key.isascii() else (key_id, secret)


def get_valid_caller(key_id: str, secret: str, row: Row[*tuple[Any, ...]] | None) -> Caller | None:
    """The owner if the secret is that of the row, which has the columns that `find_caller` asks for."""
    # The comparison takes the same time whether or not the id exists.
    expected = row.secret_sha256 if row is not None else _hash("")
    matches = hmac.compare_digest(expected, _hash(secret))
    if row is None or not matches or row.is_over:
        return None
    return Caller(owner=row.owner, key_id=key_id, scopes=frozenset(row.scopes))


def require_valid(session: Session, key_id: str) -> None:
    """For what takes long between the look at a key and the change. Raises Unauthenticated if the key is over now."""
    if session.scalar(select(KEY_TABLE.c.id).where(KEY_TABLE.c.id == key_id, ~IS_OVER)) is None:
        raise Unauthenticated


def list_revoked(session: Session, key_ids: Collection[str]) -> set[str]:
    """Which of these keys have been revoked, or have expired."""
    return set(session.scalars(select(KeyRow.id).where(KeyRow.id.in_(key_ids), IS_OVER)))


def note_uses(session: Session, ages_s: Mapping[str, float]) -> None:
    """Write when keys were last used: so many seconds ago."""
    for key_id, age_s in sorted(ages_s.items()):
        used_at = db_now(-age_s)
        session.execute(
            update(KeyRow)
            .where(KeyRow.id == key_id, or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at < used_at))
            .values(last_used_at=used_at)
        )


def list_all(session: Session) -> Sequence[KeyRow]:
    return session.scalars(select(KeyRow).order_by(KeyRow.created_at, KeyRow.id)).all()


def list_of_owner(session: Session, owner: str) -> Sequence[KeyRow]:
    """The owner's keys, oldest first: all that are valid, and the latest of those that are revoked or have expired."""
    over = select(KeyRow.id).where(KeyRow.owner == owner, IS_OVER)
    latest = over.order_by(KeyRow.created_at.desc(), KeyRow.id.desc()).limit(LISTED_OVER).subquery()
    is_listed = or_(~IS_OVER, KeyRow.id.in_(select(latest.c.id)))
    query = select(KeyRow).where(KeyRow.owner == owner, is_listed)
    return session.scalars(query.order_by(KeyRow.created_at, KeyRow.id)).all()


def get_owner(session: Session, key_id: str) -> str:
    """Whose key this is. Raises KeyNotFound."""
    owner = session.scalar(select(KeyRow.owner).where(KeyRow.id == key_id))
    if owner is None:
        raise KeyNotFound(key_id)
    return owner


def get_row(session: Session, key: str) -> KeyRow:
    """The row of a key that was just made."""
    return session.get_one(KeyRow, key.split("_")[1])


def revoke_of(session: Session, owner: str, key_id: str, *, with_made: bool = False) -> bool:
    """Make sure that a key of this owner is revoked; False if the owner has no such key.

    Args:
        with_made: revoke as well the keys that it has made, and those that they have made, and disable the webhooks of
            all of these.
    """
    owned = session.scalar(select(KeyRow.id).where(KeyRow.id == key_id, KeyRow.owner == owner))
    if owned is not None:
        revoke(session, key_id, with_made=with_made)
    return owned is not None


def revoke(session: Session, key_id: str, *, with_made: bool = False) -> bool:
    """Revoke a key, and with `with_made` what `revoke_of` says; False if there is no such key, or it was revoked."""
    key_ids = _list_with_made(session, key_id) if with_made else [key_id]
    revoked = session.scalars(
        update(KeyRow)
        .where(KeyRow.id.in_(key_ids), KeyRow.revoked_at.is_(None))
        .values(revoked_at=db_now())
        .returning(KeyRow.id)
        .execution_options(synchronize_session="auto")
    ).all()
    if with_made:
        webhooks.disable_made_by(session, key_ids)
    return key_id in revoked


def _list_with_made(session: Session, key_id: str) -> list[str]:
    """The key, the keys that it has made, those that they have made, and so on."""
    made = select(KeyRow.id).where(KeyRow.id == key_id).cte("made", recursive=True)
    made = made.union(select(KeyRow.id).join(made, KeyRow.made_by == made.c.id))
    return list(session.scalars(select(made.c.id)))


def _hash(secret: str) -> str:
    # A secret of 256 random bits needs no slow hash: it cannot be guessed.
    return hashlib.sha256(secret.encode()).hexdigest()
