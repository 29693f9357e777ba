"""The session of a browser: its cookie, and the proof that a request comes from this service's own pages.

A browser sends a cookie along whatever page asks, and a key in a header never by itself: only cookies are checked.
"""

from datetime import datetime
from urllib.parse import urlsplit

from fastapi import Request, Response

from heldout.errors import CrossSiteRequest
from models.store import sessions

SESSION_COOKIE = "heldout_session_"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def get_session_token(request: Request) -> str:
    """The session's token; empty where there is no cookie.

    Raises:
        CrossSiteRequest: another site's page sends this, or something that does not say whose page it is.
    """
    token = request.cookies.get(_get_cookie_name(request), "")
    if not sessions.is_well_formed(token):
        return ""
    if request.method not in SAFE_METHODS and "origin" not in request.headers:
        raise CrossSiteRequest("none")
    require_own_page(request)
    return token


def require_own_page(request: Request) -> None:
    """Raises CrossSiteRequest if a browser says that another site's page has sent this."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise CrossSiteRequest(origin)
    # Pages of other ports of this host are of the same site, to which cookies go: they are strangers all the same.
    sender = request.headers.get("sec-fetch-site", "same-origin")
    if sender not in ("same-origin", "none"):
        raise CrossSiteRequest(sender)


def keep_session(request: Request, response: Response, token: str, expires_at: datetime) -> None:
    """Have the browser keep the session, out of reach of scripts and of other sites."""
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
    """Have the browser drop the cookie."""
    response.delete_cookie(_get_cookie_name(request), path="/", httponly=True, samesite="strict")


def _get_cookie_name(request: Request) -> str:
    """One for each port: cookies belong to a host, on which several services may run."""
    return f"{SESSION_COOKIE}{request.url.port or request.url.scheme}"
