"""Request bodies that were read but refused: each error names the field and what to do."""

from heldout.errors.base import FieldError, HeldoutError


class InvalidSpec(HeldoutError):
    """A value in the body is not valid; `errors` says which one and why."""

    code, status, title = "invalid_spec", 422, "The body is not valid"


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
