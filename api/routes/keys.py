"""API keys of the caller's owner: list, make another, roll, revoke. All need the scope `admin`."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.http.auth import CallerDep
from api.http.deps import ReadSessionDep, SessionDep
from api.http.problems import JSON_BODY, problems
from api.http.routing import resource
from heldout.errors import KeyNotFound, KeyRefused
from heldout.scopes import SCOPES, Scope
from heldout.views.key import KeyPage, NewKeyView
from models.store import keys
from models.views.key import key_view, new_key_view

router = resource("/v1/keys", "keys", scope="admin")

DAY_S = 24 * 3600
MAX_OVERLAP_S = 30 * DAY_S


class NewKey(BaseModel):
    """What a new key may do, and for how long; it can do no more than the key that makes it, and lasts no longer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scopes: list[Scope] | None = Field(None, min_length=1, max_length=len(SCOPES), description="Absent: all of yours.")
    expires_at: AwareDatetime | None = Field(None, description="RFC 3339; absent: as the key that makes it.")


class Rolling(BaseModel):
    """How long the old key works beside the new one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    overlap_s: float = Field(DAY_S, ge=0, le=MAX_OVERLAP_S, description="Seconds; 0 ends the old one at once.")


@router.get("", responses=problems())
def list_keys(caller: CallerDep, session: ReadSessionDep) -> KeyPage:
    """All keys of this owner, oldest first, revoked ones too."""
    rows = keys.of_owner(session, caller.owner)
    return KeyPage(object="list", data=[key_view(row) for row in rows], has_more=False, next=None)


@router.post("", status_code=201, responses=problems(KeyRefused, *JSON_BODY))
def make_key(caller: CallerDep, session: SessionDep, wanted: NewKey = NewKey()) -> NewKeyView:  # noqa: B008 - frozen
    """Make another key for this owner. Its text is in this answer and nowhere else."""
    scopes = wanted.scopes or [scope for scope in SCOPES if scope in caller.scopes]
    expires_at: datetime | None = wanted.expires_at
    text = keys.make(session, caller.owner, scopes=scopes, expires_at=expires_at, made_by=caller.key_id)
    return new_key_view(keys.row_of(session, text), text)


@router.post("/{key_id}/roll", status_code=201, responses=problems(KeyNotFound, KeyRefused, *JSON_BODY))
def roll_key(
    key_id: str,
    caller: CallerDep,
    session: SessionDep,
    rolling: Rolling = Rolling(),  # noqa: B008 - frozen
) -> NewKeyView:
    """Make a key in place of another one, with its scopes and its end. The old one works until the overlap is over."""
    text = keys.roll(session, caller.owner, key_id, overlap_s=rolling.overlap_s, made_by=caller.key_id)
    return new_key_view(keys.row_of(session, text), text)


@router.delete("/{key_id}", status_code=204, responses=problems(KeyNotFound))
def revoke_key(
    key_id: str,
    caller: CallerDep,
    session: SessionDep,
    with_made: Annotated[
        bool,
        Query(description="Revoke what it has made too: keys, what these have made, and their webhooks, which stop."),
    ] = False,
) -> None:
    """Revoke a key of this owner, at once and for good; also the one that this request bears."""
    if not keys.revoke_of(session, caller.owner, key_id, with_made=with_made):
        raise KeyNotFound(key_id)
