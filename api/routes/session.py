"""Logs browsers in: exchanges a key or a one-time link for a cookie."""

import structlog
from fastapi import Request, Response
from pydantic import Field, model_validator

from api.http import auth
from api.http.body import Body
from api.http.deps import ReadContext, WriteContext
from api.http.routing import make_router
from heldout.errors import Unauthenticated
from heldout.views.account import SessionView
from models.database import Session
from models.store import activity, keys, sessions
from models.store.keys import Caller

# Everyone who can log in can log out, whatever the key's scopes.
router = make_router("/v1/session", "session", scope="any", has_secrets=True)
log_in_router = make_router("/v1/session", "session", needs_key=False, has_secrets=True)


class LogIn(Body):
    """A key or a link to log in with."""

    key: str | None = Field(None, max_length=200, description="An API key, `ho_<id>_<secret>`.")
    link: str | None = Field(
        None, max_length=200, description="The part after `#` of a link that `heldout up` prints. Valid for one log-in."
    )

    @model_validator(mode="after")
    def _has_one(self) -> "LogIn":
        if (self.key is None) == (self.link is None):
            raise ValueError("send either `key` or `link`")
        return self


@log_in_router.post(
    "", status_code=201, response_description="Logged in. The response sets an HttpOnly, SameSite=Strict cookie."
)
def log_in(wanted: LogIn, request: Request, response: Response, context: WriteContext) -> SessionView:
    """Log a browser in. Programs send their key with each request instead."""
    auth.require_own_page(request)
    caller = _find_caller(context.session, wanted)
    token, expires_at = sessions.begin(context.session, caller.key_id)
    address = None if request.client is None else request.client.host
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    activity.add(context.session, caller.owner, "log_in", key_id=caller.key_id, address=address, request_id=request_id)
    auth.keep_session(request, response, token, expires_at)
    return SessionView(object="session", owner=caller.owner, key_id=caller.key_id, expires_at=expires_at)


@router.get("")
def get_session(context: ReadContext, request: Request) -> SessionView:
    """Get the owner of the session or key of this request."""
    expires_at = (
        None
        if "authorization" in request.headers
        else sessions.get_end(context.session, auth.get_session_token(request))
    )
    return SessionView(object="session", owner=context.owner, key_id=context.caller.key_id, expires_at=expires_at)


@router.delete("", status_code=204)
def log_out(context: WriteContext, request: Request, response: Response) -> None:
    """Log the browser out. Its cookie is no longer valid."""
    sessions.end(context.session, auth.get_session_token(request))
    auth.forget_session(request, response)


def _find_caller(session: Session, wanted: LogIn) -> Caller:
    if wanted.link is not None:
        caller = sessions.use_link(session, wanted.link)
        if caller is None:
            raise Unauthenticated("This link has already been used or has expired. Log in with your API key.")
        return caller
    caller = keys.find_caller(session, wanted.key or "")
    if caller is None:
        raise Unauthenticated(
            "This key is malformed, unknown or revoked. `heldout keys create --owner NAME` makes one."
        )
    return caller
