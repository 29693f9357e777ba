"""API keys: hashed at rest, owned, revocable."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.orm import Session

from models.database import db_now
from models.tables import KeyRow

PREFIX = "ho"

# Built once, of columns rather than of the row as an object: this precedes every request.
KEY_TABLE = KeyRow.__table__
CALLER_COLUMNS = (KEY_TABLE.c.owner, KEY_TABLE.c.secret_sha256, KEY_TABLE.c.revoked_at)
_KNOWN = select(*CALLER_COLUMNS).where(KEY_TABLE.c.id == bindparam("key_id"))


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the owner of the key that it bears."""

    owner: str
    key_id: str


def make(session: Session, owner: str, secret: str | None = None) -> str:
    """Make a key and give back its text, which is not kept: `ho_<id>_<secret>`.

    Args:
        secret: drawn where none is given.
    """
    key_id, secret = secrets.token_hex(6), secret or secrets.token_urlsafe(32)
    session.execute(
        insert(KeyRow).values(id=key_id, owner=owner, secret_sha256=_hash(secret), created_at=db_now(), revoked_at=None)
    )
    return text_of(key_id, secret)


def text_of(key_id: str, secret: str) -> str:
    return f"{PREFIX}_{key_id}_{secret}"


def new_salt() -> str:
    """What `secret_from` makes a secret of: 256 random bits."""
    return secrets.token_hex(32)


def secret_from(key: str, salt: str) -> str:
    """A secret of 256 bits for another key. Who knows it has both the key that asked for it, and the salt."""
    made = hmac.digest(key.encode(), salt.encode(), "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def caller_of(session: Session, key: str) -> Caller | None:
    """The owner of a key, or None if it is malformed, unknown or revoked."""
    key_id, secret = parts_of(key)
    row = session.execute(_KNOWN, {"key_id": key_id}).one_or_none() if secret else None
    return caller_if_valid(key_id, secret, row)


def is_well_formed(key: str) -> bool:
    """Whether it has the form of a key; what has not is no key, and need not be looked up."""
    return parts_of(key)[1] != ""


def parts_of(key: str) -> tuple[str, str]:
    """Id and secret of a key; an empty secret, which none has, if it is malformed."""
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    return ("", "") if prefix != PREFIX or len(key) > 200 or not key.isascii() else (key_id, secret)


def caller_if_valid(key_id: str, secret: str, row: Row[*tuple[Any, ...]] | None) -> Caller | None:
    """The owner if the secret is that of the row, which has the columns that `caller_of` asks for."""
    # The comparison takes the same time whether or not the id exists.
    expected = row.secret_sha256 if row is not None else _hash("")
    matches = hmac.compare_digest(expected, _hash(secret))
    if row is None or not matches or row.revoked_at is not None:
        return None
    return Caller(owner=row.owner, key_id=key_id)


def revoked_among(session: Session, key_ids: Collection[str]) -> set[str]:
    """Which of these keys have been revoked."""
    return set(session.scalars(select(KeyRow.id).where(KeyRow.id.in_(key_ids), KeyRow.revoked_at.is_not(None))))


def all_of(session: Session) -> Sequence[KeyRow]:
    return session.scalars(select(KeyRow).order_by(KeyRow.created_at, KeyRow.id)).all()


def of_owner(session: Session, owner: str) -> Sequence[KeyRow]:
    """The owner's keys, oldest first, revoked ones too."""
    return session.scalars(select(KeyRow).where(KeyRow.owner == owner).order_by(KeyRow.created_at, KeyRow.id)).all()


def row_of(session: Session, key: str) -> KeyRow:
    """The row of a key that was just made."""
    return session.get_one(KeyRow, key.split("_")[1])


def revoke_of(session: Session, owner: str, key_id: str) -> bool:
    """Make sure that a key of this owner is revoked; False if the owner has no such key."""
    owned = session.scalar(select(KeyRow.id).where(KeyRow.id == key_id, KeyRow.owner == owner))
    if owned is not None:
        revoke(session, key_id)
    return owned is not None


def revoke(session: Session, key_id: str) -> bool:
    """Revoke a key; False if there is no such key or it was revoked before."""
    revoked = session.execute(
        update(KeyRow)
        .where(KeyRow.id == key_id, KeyRow.revoked_at.is_(None))
        .values(revoked_at=db_now())
        .returning(KeyRow.id)
    )
    return revoked.scalar_one_or_none() is not None


def _hash(secret: str) -> str:
    # A secret of 256 random bits needs no slow hash: it cannot be guessed.
    return hashlib.sha256(secret.encode()).hexdigest()
