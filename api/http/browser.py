"""The session of a browser: its cookie, and the check that a request comes from this service's own pages.

A browser attaches cookies to requests of any page, but never a key in a header, so only cookies need this check.
"""

from datetime import datetime
from urllib.parse import urlsplit

from fastapi import Request, Response

from heldout.errors import CrossSiteRequest
from models.store import sessions

SESSION_COOKIE = "heldout_session_"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def get_session_token(request: Request) -> str:
    """Get the session's token, or "" if there is no cookie.

    Raises:
        CrossSiteRequest: if another site's page sent the request, or if its origin is not known.
    """
    token = request.cookies.get(_get_cookie_name(request), "")
    if not sessions.is_well_formed(token):
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
