"""Request bodies and uploads that were refused: each error names the field, or says what could not be read."""

from collections.abc import Collection

from heldout.errors.base import FieldError, HeldoutError


class InvalidSpec(HeldoutError):
    """A value in the body is not valid; `errors` says which one and why."""

    code, status, title = "invalid_spec", 422, "The body is not valid"

    @staticmethod
    def at(pointer: str, detail: str) -> "InvalidSpec":
        """Make the refusal of the value at one place. The detail begins with the place."""
        return InvalidSpec(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


class NotSupported(InvalidSpec):
    """This release does not support that part of the spec yet."""

    code, title = "not_supported", "This release cannot do that yet"

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


class SpecDatasetNotFound(InvalidSpec):
    """The spec names a dataset that the owner does not have."""

    code, title = "dataset_not_found", "The spec names a dataset that does not exist"

    def __init__(self, name: str) -> None:
        detail = f"No dataset is named {name[:80]!r}. List them with GET /v1/datasets."
        super().__init__(detail, errors=[FieldError("/dataset", detail)])


class SpecModelNotFound(InvalidSpec):
    """The body names a model that the owner does not have."""

    code, title = "model_not_found", "The body names a model that does not exist"

    def __init__(self, name: str, pointer: str = "/model") -> None:
        detail = f"No model of this key's owner has the id {name[:80]!r}. List them with GET /v1/models."
        super().__init__(detail, errors=[FieldError(pointer, detail)])


class ModelUnavailable(InvalidSpec):
    """The uploaded model is still being checked, or was rejected; the detail says why."""

    code, title = "model_unavailable", "The model cannot be used"

    def __init__(self, model_id: str, status: str, pointer: str = "/model") -> None:
        why = (
            "Its file is still being read; wait for it with GET /v1/models/{id}?wait=60."
            if status == "checking"
            else "GET /v1/models/{id} says what is wrong with its file."
        )
        detail = f"Model {model_id} is {status}. {why.format(id=model_id)}"
        super().__init__(detail, errors=[FieldError(pointer, detail)])


class ModelDoesNotFit(InvalidSpec):
    """The uploaded model expects a different image shape or number of classes than the dataset has."""

    code, title = "model_does_not_fit", "The model does not fit"

    def __init__(self, detail: str, pointer: str = "/model") -> None:
        super().__init__(detail, errors=[FieldError(pointer, detail)])


class DatasetUnavailable(InvalidSpec):
    """The dataset is known, but its images are not available; the detail says why and what to do."""

    code, title = "dataset_unavailable", "The dataset's images are not available"

    def __init__(self, name: str, remedy: str) -> None:
        detail = f"The images of {name!r} are not available. {remedy}"
        super().__init__(detail, errors=[FieldError("/dataset", detail)])


class NetworkTooDeep(InvalidSpec):
    """A block would shrink its feature map below 1×1; the detail names the block and the size left."""

    code, title = "network_too_deep", "The network shrinks the image to nothing"

    def __init__(self, block: int, layer: str, left: tuple[int, int], needed: int) -> None:
        detail = (
            f"Block {block + 1} does not fit: {left[0]}×{left[1]} pixels are left before {layer}, "
            f"which needs at least {needed}×{needed}. Use fewer blocks, `padding: same`, or smaller pools, strides "
            "or kernels."
        )
        super().__init__(detail, errors=[FieldError(f"/network/blocks/{block}", detail)])


class TooManyParameters(InvalidSpec):
    """The network is larger than `HELDOUT_MAX_PARAMETERS`."""

    code, title = "too_many_parameters", "The network is larger than this service allows"

    def __init__(self, parameters: int, cap: int) -> None:
        detail = (
            f"The network has {parameters:,} parameters; this service allows {cap:,}. Use fewer filters or units, "
            "`head: global_average`, or ask the operator to raise HELDOUT_MAX_PARAMETERS."
        )
        super().__init__(detail, errors=[FieldError("/network", detail)])


class DigestMismatch(HeldoutError):
    """The content does not match `Content-Digest`; nothing was kept."""

    code, status, title = "digest_mismatch", 422, "The content does not match its digest"

    def __init__(self, said: str, received: str, size_bytes: int) -> None:
        super().__init__(
            f"Content-Digest says SHA-256 {said}, but the {size_bytes} bytes received have {received}. Nothing was "
            "kept; send the content again."
        )


class IdempotencyKeyReused(HeldoutError):
    """The key was used with a different body within 24 hours."""

    code, status, title = "idempotency_key_reused", 422, "The idempotency key was used for another request"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used with a different body in the last 24 hours. Use a new key for a new request."
        )


class WebhookUrlRefused(HeldoutError):
    """The URL is not https or not on the public internet; the detail gives the reason."""

    code, status, title = "webhook_url_refused", 422, "The webhook's URL is not allowed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The URL is refused. {reason}", errors=[FieldError("/url", reason)])


class KeyRefused(InvalidSpec):
    """A key cannot have more scopes, or last longer, than the key that creates it."""

    code, title = "key_refused", "The key cannot be created like this"

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


class NeedsMoreMemory(InvalidSpec):
    """No worker has that much memory; the detail says which batch size would fit."""

    code, title = "needs_more_memory", "No worker has that much memory"

    def __init__(self, needed_bytes: int, largest_bytes: int, fitting_batch_size: int | None) -> None:
        smaller = (
            "fewer filters or units, or smaller images"
            if fitting_batch_size is None
            else f"a `training.batch_size` of {fitting_batch_size} or less"
        )
        detail = (
            f"The training needs about {_format_amount(needed_bytes)} of memory; the largest worker has "
            f"{_format_amount(largest_bytes)}. It would fit with {smaller}, or the operator can add a larger worker."
        )
        pointer = "/network" if fitting_batch_size is None else "/training/batch_size"
        super().__init__(detail, errors=[FieldError(pointer, detail)])


def _format_amount(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB"


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
