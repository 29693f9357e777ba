"""API keys of the caller's owner: list, make another, revoke."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response

from api.http.auth import CallerDep
from api.http.context import current_context
from api.http.deps import AppContextDep, ReadSessionDep, SessionDep
from api.http.idempotency import IdempotencyKey, Memory, once
from api.http.problems import NO_ROOM, problems
from api.http.routing import resource
from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused, KeyNotFound
from heldout.quotas import Quota
from heldout.views.key import KeyPage, NewKeyView
from models.store import keys, quotas
from models.views.key import key_view, new_key_view

router = resource("/v1/keys", "keys", has_secrets=True)


@router.get("", responses=problems())
def list_keys(caller: CallerDep, session: ReadSessionDep) -> KeyPage:
    """All keys of this owner, oldest first, revoked ones too."""
    rows = keys.of_owner(session, caller.owner)
    return KeyPage(object="list", data=[key_view(row) for row in rows], has_more=False, next=None)


@router.post("", status_code=201, responses=problems(IdempotencyKeyInFlight, IdempotencyKeyReused, *NO_ROOM))
def make_key(
    caller: CallerDep,
    app: AppContextDep,
    session: SessionDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> NewKeyView:
    """Make another key for this owner. Its text is in this answer and nowhere else."""
    asked_with, salt = current_context().key, keys.new_salt()

    def made() -> NewKeyView:
        quotas.require_room(session, caller.owner, app.settings.quotas, Quota.KEYS)
        text = keys.make(session, caller.owner, keys.secret_from(asked_with, salt))
        return new_key_view(keys.row_of(session, text), text)

    def recalled(body: Mapping[str, Any]) -> NewKeyView:
        """The text once more: only who bears the key that asked for it can say it, so it need not be stored."""
        text = keys.text_of(body["id"], keys.secret_from(asked_with, body["salt"]))
        return new_key_view(keys.row_of(session, text), text)

    memory = Memory[NewKeyView](lambda view: {"object": view.object, "id": view.id, "salt": salt}, recalled)
    # Another key of the same owner would recall another text: its request is another one.
    route = f"POST /v1/keys by {caller.key_id}"
    return once(session, caller.owner, idempotency_key, route, None, response, made, memory)


@router.delete("/{key_id}", status_code=204, responses=problems(KeyNotFound))
def revoke_key(key_id: str, caller: CallerDep, session: SessionDep) -> None:
    """Revoke a key of this owner, at once and for good; also the one that this request bears."""
    if not keys.revoke_of(session, caller.owner, key_id):
        raise KeyNotFound(key_id)
