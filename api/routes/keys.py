"""API keys of the caller's owner: list, make another, revoke."""

from typing import Literal

from pydantic import Field

from api.http.auth import CallerDep
from api.http.deps import ReadSessionDep, SessionDep
from api.http.problems import problems
from api.http.routing import resource
from api.views import Page, Time, View
from heldout.errors import KeyNotFound
from models.store import keys
from models.tables import KeyRow

router = resource("/v1/keys", "keys")


class KeyView(View):
    """A key without its secret, which is not kept."""

    id: str
    object: Literal["key"]
    created_at: Time
    revoked_at: Time | None

    @classmethod
    def of(cls, row: KeyRow) -> "KeyView":
        return cls(id=row.id, object="key", created_at=row.created_at, revoked_at=row.revoked_at)


class NewKeyView(KeyView):
    """A key that was just made; `key` is shown this once."""

    key: str = Field(description="`ho_<id>_<secret>`, for the Authorization header.")


@router.get("", responses=problems())
def list_keys(caller: CallerDep, session: ReadSessionDep) -> Page[KeyView]:
    """All keys of this owner, oldest first, revoked ones too."""
    rows = keys.of_owner(session, caller.owner)
    return Page(object="list", data=[KeyView.of(row) for row in rows], has_more=False, next=None)


@router.post("", status_code=201, responses=problems())
def make_key(caller: CallerDep, session: SessionDep) -> NewKeyView:
    """Make another key for this owner. Its text is in this answer and nowhere else."""
    text = keys.make(session, caller.owner)
    made = KeyView.of(keys.row_of(session, text))
    return NewKeyView(**made.model_dump(), key=text)


@router.delete("/{key_id}", status_code=204, responses=problems(KeyNotFound))
def revoke_key(key_id: str, caller: CallerDep, session: SessionDep) -> None:
    """Revoke a key of this owner, at once and for good; also the one that this request bears."""
    if not keys.revoke_of(session, caller.owner, key_id):
        raise KeyNotFound(key_id)
