"""Finds who sends a request, by the API key of its Authorization header or the session of its cookie.

A browser attaches cookies to requests of any page, but never a key in a header. So only requests with cookies must come
from this service's own pages.
"""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import Depends, Request, Response

from api.http.body import deliver_refusal
from api.http.context import RequestContext, get_current_context
from heldout.errors import CrossSiteRequest, Unauthenticated
from models.store import keys, sessions

SESSION_COOKIE = "heldout_session_"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def get_session_token(request: Request) -> str:
    """Get the session's token, or "" if there is no cookie.

    Raises:
        CrossSiteRequest: if another site's page sent the request, or if its origin is not known.
    """
    token = request.cookies.get(_get_cookie_name(request), "")
    if not sessions.is_session_token(token):
        return ""
    if request.method not in SAFE_METHODS and "origin" not in request.headers:
        raise CrossSiteRequest("none")
    require_own_page(request)
    return token


def require_own_page(request: Request) -> None:
    """Raise CrossSiteRequest if the browser reports that another site's page sent the request."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise CrossSiteRequest(origin)
    # Pages on other ports of this host count as the same site and get its cookies, but they are not ours.
    sender = request.headers.get("sec-fetch-site", "same-origin")
    if sender not in ("same-origin", "none"):
        raise CrossSiteRequest(sender)


def keep_session(request: Request, response: Response, token: str, expires_at: datetime) -> None:
    """Set the session cookie, out of reach of scripts and of other sites."""
    response.set_cookie(
        _get_cookie_name(request),
        token,
        expires=expires_at,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def forget_session(request: Request, response: Response) -> None:
    """Delete the session cookie."""
    response.delete_cookie(_get_cookie_name(request), path="/", httponly=True, samesite="strict")


def _get_cookie_name(request: Request) -> str:
    """Get the cookie's name, which contains the port: cookies belong to a host, which may run several services."""
    return f"{SESSION_COOKIE}{request.url.port or request.url.scheme}"


def get_key(request: Request) -> str:
    """Get the key of the Authorization header, or without that header the browser's session token. May be empty.

    Raises:
        CrossSiteRequest: if a page of another site uses the session.
    """
    header = request.headers.get("authorization")
    if header is None:
        return get_session_token(request)
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
    async with deliver_refusal(request, Unauthenticated):
        if not sessions.is_well_formed(context.key):
            raise Unauthenticated
        await to_thread.run_sync(lambda: context.caller, limiter=context.app.key_lookups)
    if may_be_cached:
        context.app.callers.keep(context.key, context.caller)


async def require_valid_caller() -> RequestContext:
    context = get_current_context()
    _ = context.caller  # looked up before the endpoint is called
    return context


async def get_unchecked_key() -> str:
    return get_current_context().key


# For endpoints in the event loop, and for those with transactions of their own.
CallerContext = Annotated[RequestContext, Depends(require_valid_caller)]
# For endpoints that look up the key themselves, in the same statement as something else.
KeyDep = Annotated[str, Depends(get_unchecked_key)]
