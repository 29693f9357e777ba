"""Who asks: API keys in the Authorization header, looked up for each request, so that revoking acts at once."""

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.deps import ServicesDep
from heldout.errors import Unauthenticated
from models.store import keys
from models.store.keys import Caller

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key `ho_<id>_<secret>`, as `heldout keys create --owner NAME` prints it.",
)


def authenticate(
    services: ServicesDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """The owner of the request's key. Its own short transaction: a stranger must not wait for the write lock."""
    if credentials is None:
        raise Unauthenticated
    with services.database.read() as session:
        caller = keys.caller_of(session, credentials.credentials)
    if caller is None:
        raise Unauthenticated
    return caller


CallerDep = Annotated[Caller, Depends(authenticate)]
