"""API keys of the caller's owner: list, make another, revoke."""

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, ReadSessionDep, SessionDep
from api.http.problems import NO_ROOM, problems
from api.http.routing import resource
from heldout.errors import KeyNotFound
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


@router.post("", status_code=201, responses=problems(*NO_ROOM))
def make_key(caller: CallerDep, app: AppContextDep, session: SessionDep) -> NewKeyView:
    """Make another key for this owner. Its text is in this answer and nowhere else."""
    quotas.require_room(session, caller.owner, app.settings.quotas, Quota.KEYS)
    text = keys.make(session, caller.owner)
    return new_key_view(keys.row_of(session, text), text)


@router.delete("/{key_id}", status_code=204, responses=problems(KeyNotFound))
def revoke_key(key_id: str, caller: CallerDep, session: SessionDep) -> None:
    """Revoke a key of this owner, at once and for good; also the one that this request bears."""
    if not keys.revoke_of(session, caller.owner, key_id):
        raise KeyNotFound(key_id)
