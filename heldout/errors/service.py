"""Faults on the service's side, and of its own commands."""

from heldout.errors.base import HeldoutError


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


class TooManyConnections(HeldoutError):
    code, status, title = "too_many_connections", 503, "Too many connections are open"

    def __init__(self) -> None:
        super().__init__(
            "The service, or your address, has as many connections open as it may. Close some, or repeat this shortly.",
            headers={"Retry-After": "2", "Connection": "close"},
        )


class FileOfLaterRelease(HeldoutError):
    """A file in the blob store has a format version that this release does not know."""

    code, status, title = "file_of_later_release", 503, "A stored file was written by a later release"

    def __init__(self, file_name: str, found: int, known: int) -> None:
        super().__init__(
            f"{file_name} is stored in version {found} of its format; this release reads up to {known}. "
            "The operator has to update this service."
        )


class SpecUnreadable(HeldoutError):
    """The stored spec of a job has fields or values that this release does not know."""

    code, status, title = "spec_unreadable", 503, "A stored job was written by another release"

    def __init__(self, job_id: str, found: str) -> None:
        super().__init__(
            f"The stored spec of {job_id} is not one that this release understands ({found}). Submit a new job, or "
            "have the operator update this service."
        )


class Internal(HeldoutError):
    def __init__(self, request_id: str) -> None:
        super().__init__(f"Something broke on our side. The log has it under request {request_id}.")


class OperatorError(HeldoutError):
    """What `heldout up`, `migrate`, `keys` or `check` cannot do, in one line for a terminal."""

    code, title = "operator", "The command cannot be carried out"
