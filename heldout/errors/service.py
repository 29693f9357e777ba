"""Faults on the service's side, and of its own commands."""

from heldout.errors.base import HeldoutError


class DatabaseUnavailable(HeldoutError):
    """The database does not answer; nothing was changed; `Retry-After`."""

    code, status, title = "database_unavailable", 503, "The database does not answer"

    def __init__(self) -> None:
        super().__init__(
            "The database does not answer or is locked. The request changed nothing; repeat it shortly.",
            headers={"Retry-After": "2"},
        )


class DatabaseMismatched(HeldoutError):
    """Of `/readyz`: the tables are those of another release; run `heldout migrate`."""

    code, status, title = "database_mismatched", 503, "The database is that of another release"

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(
            f"The database is at revision {found or 'none'}, this release needs {needed}. "
            "Run `heldout migrate` with the newest release that uses this database."
        )


class StorageUnavailable(HeldoutError):
    """The blob store does not answer; `Retry-After`."""

    code, status, title = "storage_unavailable", 503, "The blob store does not answer"

    def __init__(self) -> None:
        super().__init__("The blob store does not answer. Repeat the request shortly.", headers={"Retry-After": "2"})


class TooManyConnections(HeldoutError):
    """The service, or this address, has all the connections that it may have, and none of them waits for a request.

    `HELDOUT_MAX_CONNECTIONS` and `HELDOUT_MAX_CONNECTIONS_PER_ADDRESS` say how many. `Retry-After`; probes are still
    answered.
    """

    code, status, title = "too_many_connections", 503, "Too many connections are open"

    def __init__(self) -> None:
        super().__init__(
            "The service, or your address, has as many connections open as it may. Close some, or repeat this shortly.",
            headers={"Retry-After": "2", "Connection": "close"},
        )


class FileOfLaterRelease(HeldoutError):
    """A stored audit or evaluation has a newer format than this release reads: update the service."""

    code, status, title = "file_of_later_release", 503, "A stored file was written by a later release"

    def __init__(self, file_name: str, found: int, known: int) -> None:
        super().__init__(
            f"{file_name} is stored in version {found} of its format; this release reads up to {known}. "
            "The operator has to update this service."
        )


class SecretUnreadable(HeldoutError):
    """The key that seals webhooks' secrets is another one; see `HELDOUT_SECRETS_KEY`."""

    code, status, title = "secret_unreadable", 503, "A stored secret cannot be read"

    def __init__(self) -> None:
        super().__init__(
            "The webhook's secret was sealed by another key than the service has now (HELDOUT_SECRETS_KEY, or "
            "`secrets-key` in its home). Bring that key back, or rotate the webhook's secret."
        )


class SecretsUnavailable(HeldoutError):
    """The key that seals webhooks' secrets can be neither read nor made; see `HELDOUT_SECRETS_KEY`."""

    code, status, title = "secrets_unavailable", 503, "Secrets cannot be sealed"

    def __init__(self) -> None:
        super().__init__(
            "The service has no key to seal webhooks' secrets, and cannot make one in its home. The operator has to "
            "set HELDOUT_SECRETS_KEY to a long random text, the same for every API process."
        )


class SpecUnreadable(HeldoutError):
    """Another release has stored a job with a spec that this one does not understand: update the service.

    A list goes on behind that job with `after`.
    """

    code, status, title = "spec_unreadable", 503, "A stored job was written by another release"

    def __init__(self, job_id: str, found: str) -> None:
        super().__init__(
            f"The stored spec of {job_id} is not one that this release understands ({found}). Submit a new job, or "
            "have the operator update this service."
        )


class Internal(HeldoutError):
    """Something broke on our side; the detail is the request's id alone."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Something broke on our side. The log has it under request {request_id}.")


class OperatorError(HeldoutError):
    """What `heldout up`, `migrate`, `keys` or `check` cannot do, in one line for a terminal."""

    code, title = "operator", "The command cannot be carried out"
