"""Request bodies and uploads that were refused: each error names the field, or says what could not be read."""

from collections.abc import Collection
from typing import Self

from heldout.errors.base import FieldError, HeldoutError


class InvalidSpec(HeldoutError, code="invalid_spec", status=422, title="The body is not valid"):
    """A value in the body is not valid; `errors` says which one and why."""

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """Make the refusal of the value at one place. The detail begins with the place."""
        return cls(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


class NotSupported(InvalidSpec, code="not_supported", title="This release cannot do that yet"):
    """This release does not support that part of the spec yet."""


class SpecDatasetNotFound(InvalidSpec, code="dataset_not_found", title="The spec names a dataset that does not exist"):
    """The spec names a dataset that the owner does not have."""

    def __init__(self, name: str) -> None:
        detail = f"No dataset is named {name[:80]!r}. List them with GET /v1/datasets."
        super().__init__(detail, pointer="/dataset")


class SpecModelNotFound(InvalidSpec, code="model_not_found", title="The body names a model that does not exist"):
    """The body names a model that the owner does not have."""

    def __init__(self, name: str, pointer: str = "/model") -> None:
        detail = f"No model of this key's owner has the id {name[:80]!r}. List them with GET /v1/models."
        if not name.startswith("mod_"):
            detail = (
                f"No shared model has the name {name[:80]!r}. List them with GET /v1/models. The pretrained network of "
                "the service is missing if the operator left it out (`HELDOUT_PRETRAINED=none`), or if its package is "
                "missing or damaged, as the service's log then says. Others are there once the operator has run "
                "`heldout models add --pretrained`."
            )
        super().__init__(detail, pointer=pointer)


class ModelUnavailable(InvalidSpec, code="model_unavailable", title="The model cannot be used"):
    """The model is still being read or prepared, or was rejected; the detail says why.

    shared: its name, if all owners share it.
    """

    def __init__(self, model_id: str, status: str, pointer: str = "/model", shared: str | None = None) -> None:
        detail = f"Model {model_id} is {status}. GET /v1/models/{model_id} says what is wrong with its file."
        if status == "checking":
            doing = (
                f"Model {model_id} is checking. Its file is still being read;"
                if shared is None
                else f"The network {shared} ({model_id}) is still being prepared, once, which can take a minute;"
            )
            detail = f"{doing} wait for it with GET /v1/models/{model_id}?wait=60."
        super().__init__(detail, pointer=pointer)


class ModelDoesNotFit(InvalidSpec, code="model_does_not_fit", title="The model does not fit"):
    """The uploaded model expects a different image shape or number of classes than the dataset has."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, pointer="/model")


class DatasetUnavailable(InvalidSpec, code="dataset_unavailable", title="The dataset's images are not available"):
    """The dataset is known, but its images are not available; the detail says why and what to do."""

    def __init__(self, name: str, remedy: str) -> None:
        detail = f"The images of {name!r} are not available. {remedy}"
        super().__init__(detail, pointer="/dataset")


class NetworkTooDeep(InvalidSpec, code="network_too_deep", title="The network shrinks the image to nothing"):
    """A block would shrink its feature map below 1×1; the detail names the block and the size left."""

    def __init__(self, block: int, layer: str, left: tuple[int, int], needed: int) -> None:
        detail = (
            f"Block {block + 1} does not fit: {left[0]}×{left[1]} pixels are left before {layer}, "
            f"which needs at least {needed}×{needed}. Use fewer blocks, `padding: same`, or smaller pools, strides "
            "or kernels."
        )
        super().__init__(detail, pointer=f"/network/blocks/{block}")


class TooManyParameters(
    InvalidSpec, code="too_many_parameters", title="The network is larger than this service allows"
):
    """The network is larger than `HELDOUT_MAX_PARAMETERS`."""

    def __init__(self, parameters: int, cap: int) -> None:
        detail = (
            f"The network has {parameters:,} parameters; this service allows {cap:,}. Use fewer filters or units, "
            "`head: global_average`, or ask the operator to raise HELDOUT_MAX_PARAMETERS."
        )
        super().__init__(detail, pointer="/network")


class DigestMismatch(HeldoutError, code="digest_mismatch", status=422, title="The content does not match its digest"):
    """The content does not match `Content-Digest`; nothing was kept."""

    def __init__(self, declared: str, received: str, size_bytes: int) -> None:
        super().__init__(
            f"Content-Digest says SHA-256 {declared}, but the {size_bytes} bytes received have {received}. Nothing was "
            "kept; send the content again."
        )


class IdempotencyKeyReused(
    HeldoutError, code="idempotency_key_reused", status=422, title="The idempotency key was used for another request"
):
    """The key was used with a different body within 24 hours."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used with a different body in the last 24 hours. Use a new key for a new request."
        )


class WebhookUrlRefused(HeldoutError, code="webhook_url_refused", status=422, title="The webhook's URL is not allowed"):
    """The URL is not https or not on the public internet; the detail gives the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The URL is refused. {reason}", errors=[FieldError("/url", reason)])


class KeyRefused(InvalidSpec, code="key_refused", title="The key cannot be created like this"):
    """A key cannot have more scopes, or last longer, than the key that creates it."""


class NeedsMoreMemory(InvalidSpec, code="needs_more_memory", title="No worker has that much memory"):
    """No worker has that much memory; the detail says which batch size would fit."""

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
        super().__init__(detail, pointer=pointer)


def _format_amount(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB"


class MalformedRequest(
    HeldoutError, code="malformed_request", status=400, title="The request is malformed or ambiguous"
):
    """The bytes are not a request, or two programs could read them differently; the connection is closed.

    Examples are `Content-Length` with `Transfer-Encoding`, a repeated header that must be unique, or a broken header.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class InvalidJson(HeldoutError, code="invalid_json", status=400, title="The body is not JSON"):
    """The body is not JSON: broken, not UTF-8, NaN or Infinity, nested too deep."""


class InvalidForm(HeldoutError, code="invalid_form", status=400, title="The form cannot be read"):
    """A form, or the content of a dataset, ends too early or has unknown fields."""


class InvalidCursor(HeldoutError, code="invalid_cursor", status=400, title="The cursor is not valid for this list"):
    """`after` is not a cursor of this list, or `Last-Event-ID` is not an event number."""

    def __init__(self, detail: str = "`after` is not a cursor of this list. Use `next` of the previous page."):
        super().__init__(detail)


class InvalidParameter(HeldoutError, code="invalid_parameter", status=400, title="A parameter is unknown or not valid"):
    """A query parameter, header or path is unknown or out of bounds."""


class Unauthenticated(HeldoutError, code="unauthenticated", status=401, title="A valid API key is needed"):
    """There is no key, or it is malformed, unknown or revoked."""

    def __init__(
        self,
        detail: str = "Send `Authorization: Bearer ho_<id>_<secret>` with a key that has not been revoked. "
        "`heldout keys create --owner NAME` creates one.",
    ) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class CrossSiteRequest(
    HeldoutError, code="cross_site_request", status=403, title="A page of another site sent this request"
):
    """The request has the dashboard's cookie but comes from a page of another site or port.

    A request that changes something without an `Origin` is refused too.
    """

    def __init__(self, sender: str) -> None:
        super().__init__(
            f"The request has the dashboard's cookie but comes from {sender[:200]!r}. A login is only valid for this "
            "service's own pages, which send their `Origin`. Programs send a key as `Authorization: Bearer …`."
        )


class InsufficientScope(HeldoutError, code="insufficient_scope", status=403, title="The key may not do that"):
    """The key may not do that; the detail names the scope that is needed."""

    def __init__(self, needed: str, scopes: Collection[str]) -> None:
        has = ", ".join(sorted(scopes)) or "none"
        super().__init__(
            f"This needs the scope {needed!r}, but the key has {has}. Use a key that has it: `POST /v1/keys` with a "
            "key of scope 'admin' creates one, and so does `heldout keys create`."
        )


class MethodNotAllowed(HeldoutError, code="method_not_allowed", status=405, title="The method is not allowed here"):
    """The route takes other methods; `Allow` lists them."""


class RequestTimeout(HeldoutError, code="request_timeout", status=408, title="The request arrived too slowly"):
    """The headers were not complete within `HELDOUT_HEAD_TIMEOUT_S`, the body arrived more slowly than
    `HELDOUT_MIN_BODY_RATE`, or images to predict took more than a minute; the connection is closed."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class BodyTooLarge(HeldoutError, code="body_too_large", status=413, title="The body is too large"):
    """The body is larger than the limit that the detail gives."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than the limit of {limit_bytes} bytes for this route.")
        self.limit_bytes = limit_bytes


class TargetTooLong(HeldoutError, code="target_too_long", status=414, title="The path and its query are too long"):
    """The path and its query are longer than 8 KiB; the connection is closed."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The path and its query are longer than {limit_bytes} bytes.", headers={"Connection": "close"}
        )


class HeadersTooLarge(HeldoutError, code="headers_too_large", status=431, title="The headers are too large"):
    """More than 100 headers, or more than 16 KiB before the body; the connection is closed."""

    def __init__(self, limit_bytes: int, limit_count: int) -> None:
        super().__init__(
            f"A request may have at most {limit_count} headers and {limit_bytes} bytes before its body.",
            headers={"Connection": "close"},
        )


class UnsupportedMediaType(
    HeldoutError, code="unsupported_media_type", status=415, title="The media type is not supported"
):
    """The body is not `application/json`."""

    def __init__(self, received: str, expected: str) -> None:
        super().__init__(f"Received Content-Type {received!r}; send {expected}.")


class UploadTooSlow(HeldoutError, code="upload_too_slow", status=408, title="The upload is too slow"):
    """The upload was slower than `HELDOUT_MIN_UPLOAD_BYTES_PER_S` or took more than `HELDOUT_MAX_UPLOAD_S`.

    Nothing was kept.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Nothing was kept; send the content again.", headers={"Connection": "close"})


class TooManyUploads(HeldoutError, code="too_many_uploads", status=429, title="Too many uploads at once"):
    """You already have as many uploads, or JSON bodies above 64 KiB, in progress as allowed; `Retry-After`."""

    def __init__(self, own: int) -> None:
        super().__init__(
            f"{own} of your uploads are being received, and there is no room for another. Send it again when "
            f"{'one of them' if own else 'an upload of another owner'} is done.",
            headers={"Retry-After": "5"},
        )


class TunerTrials(
    HeldoutError, code="tuner_trials", status=422, title="These are trials of a tuner, not runs to compare"
):
    """The runs of a recording are trials of a tuner: each setting was tried once."""

    def __init__(self, single: int, arms: int) -> None:
        super().__init__(
            f"{single:,} of {arms:,} arms have a single run. A tuner tries each setting once, so nothing shows how "
            f"much a figure varies by chance, and the best of {arms:,} is partly the luckiest. Train the base and the "
            "most promising settings with at least 3 seeds each, and compare those."
        )
