"""Lists, creates, rolls and revokes the API keys of the caller's owner. All routes need the scope `admin`."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from api.http.body import Body
from api.http.context import RequestContext
from api.http.deps import ReadContext, WriteContext
from api.http.idempotency import IdempotentRequest, IdempotentRequestDep, ReplayCodec
from api.http.parameters import MomentWithZone, make_page
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from heldout.access.rights import SCOPES, Quota, Scope
from heldout.errors import KeyNotFound, KeyRefused
from heldout.views.account import KeyPage, KeyView, NewKeyView
from heldout.views.base import make_view
from models.store import keys, quotas

router = make_router("/v1/keys", "keys", scope="admin", has_secrets=True)

DAY_S = 24 * 3600
MAX_OVERLAP_S = 30 * DAY_S


class NewKey(BaseModel):
    """The scopes and the expiry of a new key. Neither may exceed those of the key that creates it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scopes: list[Scope] | None = Field(
        None, min_length=1, max_length=len(SCOPES), description="Default: all scopes of your key."
    )
    expires_at: MomentWithZone | None = Field(None, description="RFC 3339. Default: when your key expires.")


class Rolling(Body):
    """How long the old key keeps working."""

    overlap_s: float = Field(DAY_S, ge=0, le=MAX_OVERLAP_S, description="Seconds. 0 ends the old key at once.")


@router.get("")
def list_keys(context: ReadContext) -> KeyPage:
    """List all valid keys of this owner, oldest first, and the latest 500 that are revoked or have expired.

    Each says what it may do, who made it, and when it was last used.
    """
    rows = keys.list_of_owner(context.session, context.owner)
    return make_page(KeyPage, [make_view(KeyView, row, object="key") for row in rows])


@router.post("", status_code=201)
@raises(KeyRefused, *NO_ROOM)
def make_key(
    context: WriteContext,
    idempotent: IdempotentRequestDep,
    wanted: NewKey = NewKey(),  # noqa: B008 - frozen
) -> NewKeyView:
    """Create another key. Only this response contains its text."""
    scopes = wanted.scopes or [scope for scope in SCOPES if scope in context.caller.scopes]

    def make(secret: str) -> str:
        quotas.require_room(context.session, context.owner, Quota.KEYS)
        return keys.make(
            context.session,
            context.owner,
            secret,
            scopes=scopes,
            expires_at=wanted.expires_at,
            made_by=context.caller.key_id,
        )

    return _make_once(context, idempotent, wanted, make)


@router.post("/{key_id}/roll", status_code=201)
@raises(KeyNotFound, KeyRefused, *NO_ROOM)
def roll_key(
    key_id: str,
    context: WriteContext,
    idempotent: IdempotentRequestDep,
    rolling: Rolling = Rolling(),  # noqa: B008 - frozen
) -> NewKeyView:
    """Replace a key by a new one with the same scopes and expiry. The old key works until the overlap is over.

    Until then, both count toward the quota of keys. Rolling an old key again gives a key that ends with it.
    """

    def make(secret: str) -> str:
        # Without an overlap, the new key takes the old key's place in the quota.
        more = 1 if rolling.overlap_s else 0
        quotas.require_room(context.session, context.owner, Quota.KEYS, asked=more)
        return keys.roll(
            context.session, context.owner, key_id, secret, overlap_s=rolling.overlap_s, made_by=context.caller.key_id
        )

    return _make_once(context, idempotent, rolling, make)


def _make_once(
    context: RequestContext, idempotent: IdempotentRequest, wanted: BaseModel, make: Callable[[str], str]
) -> NewKeyView:
    """Create the key that `make` derives from a secret, or return the one that the same request created before."""
    asked_with, salt = context.key, secrets.token_hex(32)

    def build_view(text: str) -> NewKeyView:
        return make_view(NewKeyView, keys.get_row(context.session, text), object="key", key=text)

    def decode(body: Mapping[str, Any]) -> NewKeyView:
        """Rebuild the key's text. It is derived from the requesting key, so it need not be stored."""
        return build_view(keys.format_key(body["id"], keys.derive_secret(asked_with, body["salt"])))

    codec = ReplayCodec[NewKeyView](lambda view: {"object": view.object, "id": view.id, "salt": salt}, decode)
    # The requesting key is part of the fingerprint, because another key would derive another text.
    for_this_key = replace(idempotent, route=f"{idempotent.route} by {context.caller.key_id}")
    return for_this_key.make(
        context.session, wanted, lambda: build_view(make(keys.derive_secret(asked_with, salt))), codec
    )


@router.delete("/{key_id}", status_code=204)
@raises(KeyNotFound)
def revoke_key(
    key_id: str,
    context: WriteContext,
    with_made: Annotated[
        bool,
        Query(description="Also revoke the keys that it created, directly or indirectly, and disable their webhooks."),
    ] = False,
) -> None:
    """Revoke a key at once and permanently, even the key of this request."""
    if not keys.revoke_of(context.session, context.owner, key_id, with_made=with_made):
        raise KeyNotFound(key_id)
