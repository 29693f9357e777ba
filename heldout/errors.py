"""Every failure that Heldout expects: a stable code, an HTTP status, and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """One refused value: a JSON pointer (RFC 6901) into the request's body, and why."""

    pointer: str
    detail: str


class HeldoutError(Exception):
    """Base of all expected failures; its text is shown to the caller."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


# --- the request could not be read -------------------------------------------------------------


class InvalidJson(HeldoutError):
    code, status, title = "invalid_json", 400, "The body is not JSON"


class InvalidForm(HeldoutError):
    code, status, title = "invalid_form", 400, "The form cannot be read"


class InvalidCursor(HeldoutError):
    code, status, title = "invalid_cursor", 400, "The cursor is not one of ours"

    def __init__(self) -> None:
        super().__init__("`after` is not a cursor of this list. Take it from `next` of the page before.")


class InvalidParameter(HeldoutError):
    code, status, title = "invalid_parameter", 400, "A parameter is out of its bounds"


class Unauthenticated(HeldoutError):
    code, status, title = "unauthenticated", 401, "A valid API key is needed"

    def __init__(self) -> None:
        super().__init__(
            "Send `Authorization: Bearer ho_<id>_<secret>` with a key that has not been revoked. "
            "`heldout keys create --owner NAME` makes one.",
            headers={"WWW-Authenticate": "Bearer"},
        )


class MethodNotAllowed(HeldoutError):
    code, status, title = "method_not_allowed", 405, "The method does not fit this route"


class BodyTooLarge(HeldoutError):
    code, status, title = "body_too_large", 413, "The body is too large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than the limit of {limit_bytes} bytes for this route.")
        self.limit_bytes = limit_bytes


class UnsupportedMediaType(HeldoutError):
    code, status, title = "unsupported_media_type", 415, "The media type is not supported"

    def __init__(self, received: str, expected: str) -> None:
        super().__init__(f"Received Content-Type {received!r}; send {expected}.")


# --- what was asked for is not there -----------------------------------------------------------


class RouteNotFound(HeldoutError):
    code, status, title = "route_not_found", 404, "There is no such route"

    def __init__(self, path: str) -> None:
        super().__init__(f"Nothing is served at {path[:200]!r}. GET /docs lists the routes.")


class JobNotFound(HeldoutError):
    code, status, title = "job_not_found", 404, "There is no such job"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No job of this key's owner has the id {job_id[:80]!r}. List them with GET /v1/jobs.")


class DatasetNotFound(HeldoutError):
    """A path names a dataset that this owner does not have."""

    code, status, title = "dataset_not_found", 404, "There is no such dataset"

    def __init__(self, name: str) -> None:
        super().__init__(f"No dataset is named {name[:80]!r}. List them with GET /v1/datasets.")


class ImageNotFound(HeldoutError):
    code, status, title = "image_not_found", 404, "There is no such picture"


class KeyNotFound(HeldoutError):
    code, status, title = "key_not_found", 404, "There is no such key"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"No key of this owner has the id {key_id[:80]!r}. List them with GET /v1/keys.")


class WebhookNotFound(HeldoutError):
    code, status, title = "webhook_not_found", 404, "There is no such webhook"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f"No webhook of this key's owner has the id {webhook_id[:80]!r}. List them with GET /v1/webhooks."
        )


class DeliveryNotFound(HeldoutError):
    code, status, title = "delivery_not_found", 404, "There is no such delivery"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(
            f"This webhook has no delivery with the id {delivery_id[:80]!r}, or no more: the log goes back seven days."
        )


# --- the spec was read and refused -------------------------------------------------------------


class InvalidSpec(HeldoutError):
    code, status, title = "invalid_spec", 422, "The body is not valid"


class SpecDatasetNotFound(InvalidSpec):
    """A spec names a dataset that this owner does not have."""

    code, title = "dataset_not_found", "The spec names a dataset that is not there"

    def __init__(self, name: str) -> None:
        detail = f"No dataset is named {name[:80]!r}. List them with GET /v1/datasets."
        super().__init__(detail, errors=[FieldError("/dataset", detail)])


class DatasetUnavailable(InvalidSpec):
    code, title = "dataset_unavailable", "The dataset is known but its images are not here"

    def __init__(self, name: str, remedy: str) -> None:
        detail = f"The images of {name!r} are not here. {remedy}"
        super().__init__(detail, errors=[FieldError("/dataset", detail)])


class NetworkTooDeep(InvalidSpec):
    code, title = "network_too_deep", "The network shrinks its image to nothing"

    def __init__(self, block: int, layer: str, left: tuple[int, int], needed: int) -> None:
        detail = (
            f"Block {block + 1} does not fit: {left[0]}×{left[1]} pixels are left before {layer}, "
            f"which needs at least {needed}×{needed}. Use fewer blocks, `padding: same`, or a smaller pool or kernel."
        )
        super().__init__(detail, errors=[FieldError(f"/network/blocks/{block}", detail)])


class TooManyParameters(InvalidSpec):
    code, title = "too_many_parameters", "The network is larger than this service allows"

    def __init__(self, parameters: int, cap: int) -> None:
        detail = (
            f"The network has {parameters:,} parameters; this service allows {cap:,}. Use fewer filters or units, "
            "`head: global_average`, or ask the operator to raise HELDOUT_MAX_PARAMETERS."
        )
        super().__init__(detail, errors=[FieldError("/network", detail)])


class DigestMismatch(HeldoutError):
    code, status, title = "digest_mismatch", 422, "The content is not what its digest says"

    def __init__(self, said: str, received: str, size_bytes: int) -> None:
        super().__init__(
            f"Content-Digest says SHA-256 {said}; {size_bytes} bytes with {received} were received. Nothing was kept; "
            "send the content again."
        )


class IdempotencyKeyReused(HeldoutError):
    code, status, title = "idempotency_key_reused", 422, "The idempotency key was used for another request"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key came with another body in the last 24 hours. Use a new key for a new request."
        )


class WebhookUrlRefused(HeldoutError):
    code, status, title = "webhook_url_refused", 422, "The webhook may not lead there"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The url is refused. {reason}", errors=[FieldError("/url", reason)])


# --- the request is right, the state is not ----------------------------------------------------


class IdempotencyKeyInFlight(HeldoutError):
    code, status, title = "idempotency_key_in_flight", 409, "The first request with this key is still running"

    def __init__(self) -> None:
        super().__init__(
            "Another request with this Idempotency-Key is being answered. Repeat this one in a second.",
            headers={"Retry-After": "1"},
        )


class JobFinished(HeldoutError):
    code, status, title = "job_finished", 409, "The job has ended"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}; that is final. POST /v1/jobs/{job_id}/retry makes a new one.")


class JobNotFinished(HeldoutError):
    code, status, title = "job_not_finished", 409, "The job has not ended"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}. Cancel it or wait until it ends.")


class JobNotQueued(HeldoutError):
    code, status, title = "job_not_queued", 409, "The job is not queued"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}; priority, metadata and name change only while it is queued.")


class JobNotPaused(HeldoutError):
    code, status, title = "not_paused", 409, "The job is not paused"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status}; only a paused job can be resumed.")


class NotReady(HeldoutError):
    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, job_id: str, what: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status} and has no {what}. It is written when the job has succeeded.")


class DatasetNotReady(HeldoutError):
    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, name: str, status: str, what: str = "splits") -> None:
        super().__init__(f"Dataset {name!r} is {status} and has no {what}. They are known once it is ready.")


class NoAudit(HeldoutError):
    code, status, title = "not_ready", 409, "Not there yet"

    def __init__(self, name: str) -> None:
        super().__init__(f"Dataset {name!r} comes with the service: it was not uploaded, so it has no audit.")


class UploadFinished(HeldoutError):
    code, status, title = "upload_finished", 409, "The dataset has its content"

    def __init__(self, name: str, version: int, status: str, *, came: bool) -> None:
        why = "was uploaded with other content" if came else "this content comes too late for it"
        super().__init__(
            f"Dataset {name}@{version} is {status} and {why}. Datasets do not change; "
            "POST /v1/datasets makes the next version."
        )


class DatasetIsBundled(HeldoutError):
    code, status, title = "dataset_is_bundled", 409, "The dataset comes with the service"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is everyone's: it can be neither changed nor deleted. Name one of your own.")


class DatasetInUse(HeldoutError):
    code, status, title = "dataset_in_use", 409, "Jobs need the dataset"

    def __init__(self, name: str, version: int, job_ids: Sequence[str], *, more: bool) -> None:
        listed = ", ".join(job_ids) + (" and more" if more else "")
        super().__init__(
            f"Dataset {name}@{version} is needed by jobs that have not ended: {listed}. Cancel them or wait."
        )


class TooManyWebhooks(HeldoutError):
    code, status, title = "too_many_webhooks", 409, "The owner has as many webhooks as are allowed"

    def __init__(self, limit: int) -> None:
        super().__init__(f"An owner can have {limit} webhooks. Delete one, or give one of them more events.")


class WebhookDisabled(HeldoutError):
    code, status, title = "webhook_disabled", 409, "The webhook is disabled"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f'Webhook {webhook_id} is disabled; nothing is sent to it. PATCH it with {{"enabled": true}} first.'
        )


class LeaseLost(HeldoutError):
    """Another attempt owns the job, or it has ended; what this worker writes no longer counts."""

    code, status, title = "lease_lost", 409, "The job belongs to another attempt"

    def __init__(self, job_id: str, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} of job {job_id} no longer holds it.")


# --- the service ---------------------------------------------------------------------------------


class DatabaseUnavailable(HeldoutError):
    code, status, title = "database_unavailable", 503, "The database does not answer"

    def __init__(self) -> None:
        super().__init__(
            "The database does not answer or is locked. The request changed nothing; repeat it shortly.",
            headers={"Retry-After": "2"},
        )


class DatabaseMismatched(HeldoutError):
    code, status, title = "database_mismatched", 503, "The database is that of another release"

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(
            f"The database is at revision {found or 'none'}, this release needs {needed}. "
            "Run `heldout migrate` with the newest release that uses this database."
        )


class StorageUnavailable(HeldoutError):
    code, status, title = "storage_unavailable", 503, "The blob store does not answer"

    def __init__(self) -> None:
        super().__init__("The blob store does not answer. Repeat the request shortly.", headers={"Retry-After": "2"})


class FileOfLaterRelease(HeldoutError):
    """A file in the blob store has a format version that this release does not know."""

    code, status, title = "file_of_later_release", 503, "A stored file was written by a later release"

    def __init__(self, file_name: str, found: int, known: int) -> None:
        super().__init__(
            f"{file_name} is stored in version {found} of its format; this release reads up to {known}. "
            "The operator has to update this service."
        )


class Internal(HeldoutError):
    def __init__(self, request_id: str) -> None:
        super().__init__(f"Something broke on our side. The log has it under request {request_id}.")


class OperatorError(HeldoutError):
    """What `heldout up`, `migrate`, `keys` or `check` cannot do, in one line for a terminal."""

    code, title = "operator", "The command cannot be carried out"
