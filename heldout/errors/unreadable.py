"""Requests that could not be read or have no valid key."""

from collections.abc import Collection

from heldout.errors.base import HeldoutError


class MalformedRequest(HeldoutError):
    """The bytes are not a request, or two programs could read them differently; the connection is closed.

    Examples are `Content-Length` with `Transfer-Encoding`, a repeated header that must be unique, or a broken header.
    """

    code, status, title = "malformed_request", 400, "The request is malformed or ambiguous"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class InvalidJson(HeldoutError):
    """The body is not JSON: broken, not UTF-8, NaN or Infinity, nested too deep."""

    code, status, title = "invalid_json", 400, "The body is not JSON"


class InvalidForm(HeldoutError):
    """A form, or the content of a dataset, ends too early or has unknown fields."""

    code, status, title = "invalid_form", 400, "The form cannot be read"


class InvalidCursor(HeldoutError):
    """`after` is not a cursor of this list, or `Last-Event-ID` is not an event number."""

    code, status, title = "invalid_cursor", 400, "The cursor is not valid for this list"

    def __init__(self, detail: str = "`after` is not a cursor of this list. Use `next` of the previous page."):
        super().__init__(detail)


class InvalidParameter(HeldoutError):
    """A query parameter, header or path is unknown or out of bounds."""

    code, status, title = "invalid_parameter", 400, "A parameter is unknown or not valid"


class Unauthenticated(HeldoutError):
    """There is no key, or it is malformed, unknown or revoked."""

    code, status, title = "unauthenticated", 401, "A valid API key is needed"

    def __init__(
        self,
        detail: str = "Send `Authorization: Bearer ho_<id>_<secret>` with a key that has not been revoked. "
        "`heldout keys create --owner NAME` creates one.",
    ) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class CrossSiteRequest(HeldoutError):
    """The request has the dashboard's cookie but comes from a page of another site or port.

    A request that changes something without an `Origin` is refused too.
    """

    code, status, title = "cross_site_request", 403, "A page of another site sent this request"

    def __init__(self, sender: str) -> None:
        super().__init__(
            f"The request has the dashboard's cookie but comes from {sender[:200]!r}. A login is only valid for this "
            "service's own pages, which send their `Origin`. Programs send a key as `Authorization: Bearer …`."
        )


class InsufficientScope(HeldoutError):
    """The key may not do that; the detail names the scope that is needed."""

    code, status, title = "insufficient_scope", 403, "The key may not do that"

    def __init__(self, needed: str, scopes: Collection[str]) -> None:
        has = ", ".join(sorted(scopes)) or "none"
        super().__init__(
            f"This needs the scope {needed!r}, but the key has {has}. Use a key that has it: `POST /v1/keys` with a "
            "key of scope 'admin' creates one, and so does `heldout keys create`."
        )


class MethodNotAllowed(HeldoutError):
    """The route takes other methods; `Allow` lists them."""

    code, status, title = "method_not_allowed", 405, "The method is not allowed here"


class RequestTimeout(HeldoutError):
    """The headers were not complete within `HELDOUT_HEAD_TIMEOUT_S`, the body arrived more slowly than
    `HELDOUT_MIN_BODY_RATE`, or images to predict took more than a minute; the connection is closed."""

    code, status, title = "request_timeout", 408, "The request arrived too slowly"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class BodyTooLarge(HeldoutError):
    """The body is larger than the limit that the detail gives."""

    code, status, title = "body_too_large", 413, "The body is too large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than the limit of {limit_bytes} bytes for this route.")
        self.limit_bytes = limit_bytes


class TargetTooLong(HeldoutError):
    """The path and its query are longer than 8 KiB; the connection is closed."""

    code, status, title = "target_too_long", 414, "The path and its query are too long"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The path and its query are longer than {limit_bytes} bytes.", headers={"Connection": "close"}
        )


class HeadersTooLarge(HeldoutError):
    """More than 100 headers, or more than 16 KiB before the body; the connection is closed."""

    code, status, title = "headers_too_large", 431, "The headers are too large"

    def __init__(self, limit_bytes: int, limit_count: int) -> None:
        super().__init__(
            f"A request may have at most {limit_count} headers and {limit_bytes} bytes before its body.",
            headers={"Connection": "close"},
        )


class UnsupportedMediaType(HeldoutError):
    """The body is not `application/json`."""

    code, status, title = "unsupported_media_type", 415, "The media type is not supported"

    def __init__(self, received: str, expected: str) -> None:
        super().__init__(f"Received Content-Type {received!r}; send {expected}.")


class UploadTooSlow(HeldoutError):
    """The upload was slower than `HELDOUT_MIN_UPLOAD_BYTES_PER_S` or took more than `HELDOUT_MAX_UPLOAD_S`.

    Nothing was kept.
    """

    code, status, title = "upload_too_slow", 408, "The upload is too slow"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Nothing was kept; send the content again.", headers={"Connection": "close"})


class TooManyUploads(HeldoutError):
    """You already have as many uploads, or JSON bodies above 64 KiB, in progress as allowed; `Retry-After`."""

    code, status, title = "too_many_uploads", 429, "Too many uploads at once"

    def __init__(self, own: int) -> None:
        super().__init__(
            f"{own} of your uploads are being received, and there is no room for another. Send it again when "
            f"{'one of them' if own else 'an upload of another owner'} is done.",
            headers={"Retry-After": "5"},
        )
