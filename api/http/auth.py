"""Who sends a request: the API key of its Authorization header or the session of its cookie, and whose that is."""

from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from api.http import browser
from api.http.body import discard_body
from api.http.context import RequestContext, get_current_context
from heldout.errors import Unauthenticated
from models.store import callers, keys
from models.store.keys import Caller

# How much of a stranger's body is received, and dropped, so that a client which sends before it reads gets its 401.
MAX_UNAUTHENTICATED_BODY_BYTES = 64 * 1024
MAX_UNAUTHENTICATED_BODY_S = 1.0


def get_key(request: Request) -> str:
    """The key of the Authorization header, or without that header the browser's session; empty if there is none.

    Raises:
        CrossSiteRequest: a page of another site makes use of the session.
    """
    header = request.headers.get("authorization")
    if header is None:
        return browser.get_session_token(request)
    scheme, _, key = header.partition(" ")
    key = key.strip()
    return key if scheme.lower() == "bearer" and keys.is_well_formed(key) else ""


async def require_valid_key(request: Request, context: RequestContext, *, is_remembered: bool = False) -> None:
    """Raises Unauthenticated if the key is not valid; the body of such a request is not kept.

    Args: is_remembered: whether it is enough that the key was valid a second ago.
    """
    if is_remembered and (caller := context.app.callers.get(context.key)) is not None:
        context.admit(caller)
        return
    try:
        if not callers.is_well_formed(context.key):
            raise Unauthenticated
        await to_thread.run_sync(lambda: context.caller, limiter=context.app.key_lookups)
        if is_remembered:
            context.app.callers.keep(context.key, context.caller)
    except Unauthenticated as error:
        # A client that asked first (Expect: 100-continue) sends nothing once it has the answer.
        asked_first = "expect" in request.headers
        if asked_first or not await discard_body(request, MAX_UNAUTHENTICATED_BODY_BYTES, MAX_UNAUTHENTICATED_BODY_S):
            error.headers["Connection"] = "close"
        raise


async def require_valid_caller() -> Caller:
    return get_current_context().caller


async def get_unchecked_key() -> str:
    return get_current_context().key


CallerDep = Annotated[Caller, Depends(require_valid_caller)]
# For an endpoint that looks the key up itself, in one statement with something else.
KeyDep = Annotated[str, Depends(get_unchecked_key)]
