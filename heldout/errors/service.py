"""Failures of the service itself and of its commands, and requests for more than an owner may use."""

from heldout.errors.base import HeldoutError


class DatabaseUnavailable(HeldoutError):
    """The database does not answer, and nothing was changed; `Retry-After`."""

    code, status, title = "database_unavailable", 503, "The database does not answer"

    def __init__(self) -> None:
        super().__init__(
            "The database does not answer or is locked. The request changed nothing; repeat it shortly.",
            headers={"Retry-After": "2"},
        )


class DatabaseMismatched(HeldoutError):
    """`/readyz` only: the tables belong to another release; run `heldout migrate`."""

    code, status, title = "database_mismatched", 503, "The database belongs to another release"

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(
            f"The database is at revision {found or 'none'}, but this release needs {needed}. "
            "Run `heldout migrate` with the newest release that uses this database."
        )


class StorageUnavailable(HeldoutError):
    """The blob store does not answer; `Retry-After`."""

    code, status, title = "storage_unavailable", 503, "The blob store does not answer"

    def __init__(self) -> None:
        super().__init__("The blob store does not answer. Repeat the request shortly.", headers={"Retry-After": "2"})


class TooManyConnections(HeldoutError):
    """The service, or this address, has reached its limit of connections, and none of them is idle.

    `HELDOUT_MAX_CONNECTIONS` and `HELDOUT_MAX_CONNECTIONS_PER_ADDRESS` set the limits. `Retry-After`; probes are still
    answered.
    """

    code, status, title = "too_many_connections", 503, "Too many connections are open"

    def __init__(self) -> None:
        super().__init__(
            "The service, or your address, has reached its limit of open connections. Close some, or try again "
            "shortly.",
            headers={"Retry-After": "2", "Connection": "close"},
        )


class FileOfLaterRelease(HeldoutError):
    """A stored audit or evaluation has a newer format than this release can read: update the service."""

    code, status, title = "file_of_later_release", 503, "A stored file was written by a later release"

    def __init__(self, file_name: str, found: int, known: int) -> None:
        super().__init__(
            f"{file_name} is stored in version {found} of its format, but this release reads up to {known}. "
            "The operator has to update this service."
        )


class SecretUnreadable(HeldoutError):
    """The key that encrypts webhook secrets has changed; see `HELDOUT_SECRETS_KEY`."""

    code, status, title = "secret_unreadable", 503, "A stored secret cannot be read"

    def __init__(self) -> None:
        super().__init__(
            "The webhook's secret was encrypted with a different key than the service has now (HELDOUT_SECRETS_KEY, or "
            "`secrets-key` in its home). Restore that key, or rotate the webhook's secret."
        )


class SecretsUnavailable(HeldoutError):
    """The key that encrypts webhook secrets can be neither read nor created; see `HELDOUT_SECRETS_KEY`."""

    code, status, title = "secrets_unavailable", 503, "Secrets cannot be encrypted"

    def __init__(self) -> None:
        super().__init__(
            "The service has no key to encrypt webhook secrets, and cannot create one in its home. The operator has to "
            "set HELDOUT_SECRETS_KEY to a long random text, the same for every API process."
        )


class SpecUnreadable(HeldoutError):
    """Another release stored a job with a spec that this release does not understand: update the service.

    To list the jobs behind it, pass its id as `after`.
    """

    code, status, title = "spec_unreadable", 503, "A stored job was written by another release"

    def __init__(self, job_id: str, found: str) -> None:
        super().__init__(
            f"This release does not understand the stored spec of {job_id} ({found}). Submit a new job, or have the "
            "operator update this service."
        )


class Internal(HeldoutError):
    """Something broke on our side; the detail only gives the request's id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Something broke on our side. The log has it under request {request_id}.")


class OperatorError(HeldoutError):
    """Why `heldout up`, `migrate`, `keys` or `check` cannot do its work, in one line for a terminal."""

    code, title = "operator", "The command failed"


class QuotaExceeded(HeldoutError):
    """The owner has used up a quota; the detail says how much is used and allowed. See
    [quotas](../explanation/fair-share.md#quotas)."""

    code, status, title = "quota_exceeded", 429, "The quota is used up"

    def __init__(
        self, quota: str, what: str, used: float, allowed: int, *, asked: int = 1, retry_after_s: int | None = None
    ) -> None:
        """asked: how many more the request needs. retry_after_s: seconds after which there is certainly room."""
        more = "" if asked == 1 else f", and this request needs {asked:,} more"
        when = "Free some, or ask" if retry_after_s is None else f"Try again in {retry_after_s:,} seconds, or ask"
        super().__init__(
            f"Quota `{quota}` ({what}): {used:,.0f} used, {allowed:,} allowed{more}. {when} the operator for more.",
            headers={} if retry_after_s is None else {"Retry-After": str(retry_after_s)},
        )


class TooManyRequests(HeldoutError):
    """The key sends more requests than `HELDOUT_RATE` allows; `Retry-After`, `RateLimit`."""

    code, status, title = "too_many_requests", 429, "Too many requests"

    def __init__(self, allowed: str, retry_after_s: int) -> None:
        super().__init__(
            f"This key may send {allowed}. Repeat the request in {retry_after_s} s. Event streams and `wait` make most "
            "requests unnecessary.",
            headers={"Retry-After": str(retry_after_s)},
        )


class OwnerSuspended(HeldoutError):
    """The operator has suspended the key's owner: nothing new is accepted, and models do not answer."""

    code, status, title = "owner_suspended", 403, "The owner is suspended"

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"The operator has suspended {owner}: nothing new is accepted, and none of their jobs will start. Existing "
            "data can be read, cancelled and deleted. Ask the operator."
        )


class TooManyDownloads(HeldoutError):
    """Too many responses above 64 KiB are still being sent to you; `Retry-After`."""

    code, status, title = "too_many_downloads", 429, "Too many downloads at once"

    def __init__(self, own: int) -> None:
        super().__init__(
            f"{own} large responses are being sent to you, and there is no room for another. Repeat the request when "
            f"{'one of them' if own else 'one to another owner'} is complete.",
            headers={"Retry-After": "5"},
        )
