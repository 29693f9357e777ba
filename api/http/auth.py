"""Finds who sends a request, by the API key of its Authorization header or the session of its cookie."""

from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from api.http import browser
from api.http.body import discard_body
from api.http.context import RequestContext, get_current_context
from heldout.errors import Unauthenticated
from models.store import callers, keys
from models.store.keys import Caller

# This much of an unauthenticated body is received and dropped, so that clients that send before they read get the 401.
MAX_UNAUTHENTICATED_BODY_BYTES = 64 * 1024
MAX_UNAUTHENTICATED_BODY_S = 1.0


def get_key(request: Request) -> str:
    """Get the key of the Authorization header, or without that header the browser's session token. May be empty.

    Raises:
        CrossSiteRequest: if a page of another site uses the session.
    """
    header = request.headers.get("authorization")
    if header is None:
        return browser.get_session_token(request)
    scheme, _, key = header.partition(" ")
    key = key.strip()
    return key if scheme.lower() == "bearer" and keys.is_well_formed(key) else ""


async def require_valid_key(request: Request, context: RequestContext, *, may_be_cached: bool = False) -> None:
    """Raise Unauthenticated if the key is not valid, and drop the request's body.

    Args:
        may_be_cached: whether it is enough that the key was valid a second ago.
    """
    if may_be_cached and (caller := context.app.callers.get(context.key)) is not None:
        context.admit(caller)
        return
    try:
        if not callers.is_well_formed(context.key):
            raise Unauthenticated
        await to_thread.run_sync(lambda: context.caller, limiter=context.app.key_lookups)
        if may_be_cached:
            context.app.callers.keep(context.key, context.caller)
    except Unauthenticated as error:
        # A client that sent `Expect: 100-continue` sends no body after this answer.
        asked_first = "expect" in request.headers
        if asked_first or not await discard_body(request, MAX_UNAUTHENTICATED_BODY_BYTES, MAX_UNAUTHENTICATED_BODY_S):
            error.headers["Connection"] = "close"
        raise


async def require_valid_caller() -> Caller:
    return get_current_context().caller


async def get_unchecked_key() -> str:
    return get_current_context().key


CallerDep = Annotated[Caller, Depends(require_valid_caller)]
# For endpoints that look up the key themselves, in the same statement as something else.
KeyDep = Annotated[str, Depends(get_unchecked_key)]
