"""Requests that could not be read, or that bear no valid key."""

from heldout.errors.base import HeldoutError


class MalformedRequest(HeldoutError):
    code, status, title = "malformed_request", 400, "This is not a request that can be understood in one way only"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class InvalidJson(HeldoutError):
    code, status, title = "invalid_json", 400, "The body is not JSON"


class InvalidForm(HeldoutError):
    code, status, title = "invalid_form", 400, "The form cannot be read"


class InvalidCursor(HeldoutError):
    code, status, title = "invalid_cursor", 400, "The cursor is not valid for this list"

    def __init__(self, detail: str = "`after` is not a cursor of this list. Take it from `next` of the page before."):
        super().__init__(detail)


class InvalidParameter(HeldoutError):
    code, status, title = "invalid_parameter", 400, "A parameter is unknown or not valid"


class Unauthenticated(HeldoutError):
    code, status, title = "unauthenticated", 401, "A valid API key is needed"

    def __init__(
        self,
        detail: str = "Send `Authorization: Bearer ho_<id>_<secret>` with a key that has not been revoked. "
        "`heldout keys create --owner NAME` makes one.",
    ) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class CrossSiteRequest(HeldoutError):
    code, status, title = "cross_site_request", 403, "A page of another site has sent this"

    def __init__(self, sender: str) -> None:
        super().__init__(
            f"The request bears the dashboard's cookie and comes from {sender[:200]!r}. A log-in counts for this "
            "service's own pages only, which send their `Origin`. Programs send a key as `Authorization: Bearer …`."
        )


class MethodNotAllowed(HeldoutError):
    code, status, title = "method_not_allowed", 405, "The method does not fit this route"


class RequestTimeout(HeldoutError):
    code, status, title = "request_timeout", 408, "The request came too slowly"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class BodyTooLarge(HeldoutError):
    code, status, title = "body_too_large", 413, "The body is too large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than the limit of {limit_bytes} bytes for this route.")
        self.limit_bytes = limit_bytes


class TargetTooLong(HeldoutError):
    code, status, title = "target_too_long", 414, "The path with its query is too long"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The path with its query is longer than {limit_bytes} bytes.", headers={"Connection": "close"}
        )


class HeadersTooLarge(HeldoutError):
    code, status, title = "headers_too_large", 431, "The headers are too large"

    def __init__(self, limit_bytes: int, limit_count: int) -> None:
        super().__init__(
            f"A request may have {limit_count} headers, and {limit_bytes} bytes before its body.",
            headers={"Connection": "close"},
        )


class UnsupportedMediaType(HeldoutError):
    code, status, title = "unsupported_media_type", 415, "The media type is not supported"

    def __init__(self, received: str, expected: str) -> None:
        super().__init__(f"Received Content-Type {received!r}; send {expected}.")
