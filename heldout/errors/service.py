"""Failures of the service itself and of its commands, and requests for more than an owner may use."""

from heldout.errors.base import HeldoutError


class DatabaseUnavailable(HeldoutError, code="database_unavailable", status=503, title="The database does not answer"):
    """The database does not answer, and nothing was changed; `Retry-After`."""

    def __init__(self) -> None:
        super().__init__(
            "The database does not answer or is locked. The request changed nothing; repeat it shortly.",
            headers={"Retry-After": "2"},
        )


class DatabaseMismatched(
    HeldoutError, code="database_mismatched", status=503, title="The database belongs to another release"
):
    """`/readyz` only: the tables belong to another release; run `heldout migrate`."""

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(
            f"The database is at revision {found or 'none'}, but this release needs {needed}. "
            "Run `heldout migrate` with the newest release that uses this database."
        )


class StorageUnavailable(HeldoutError, code="storage_unavailable", status=503, title="The blob store does not answer"):
    """The blob store does not answer; `Retry-After`."""

    def __init__(self) -> None:
        super().__init__("The blob store does not answer. Repeat the request shortly.", headers={"Retry-After": "2"})


class TooManyConnections(HeldoutError, code="too_many_connections", status=503, title="Too many connections are open"):
    """The service, or this address, has reached its limit of connections, and none of them is idle.

    `HELDOUT_MAX_CONNECTIONS` and `HELDOUT_MAX_CONNECTIONS_PER_ADDRESS` set the limits. `Retry-After`; probes are still
    answered.
    """

    def __init__(self) -> None:
        super().__init__(
            "The service, or your address, has reached its limit of open connections. Close some, or try again "
            "shortly.",
            headers={"Retry-After": "2", "Connection": "close"},
        )


class FileOfLaterRelease(
    HeldoutError, code="file_of_later_release", status=503, title="A stored file was written by a later release"
):
    """A stored audit or evaluation has a newer format than this release can read: update the service."""

    def __init__(self, file_name: str, found: int, known: int) -> None:
        super().__init__(
            f"{file_name} is stored in version {found} of its format, but this release reads up to {known}. "
            "The operator has to update this service."
        )


class SecretUnreadable(HeldoutError, code="secret_unreadable", status=503, title="A stored secret cannot be read"):
    """The key that encrypts webhook secrets has changed; see `HELDOUT_SECRETS_KEY`."""

    def __init__(self) -> None:
        super().__init__(
            "The webhook's secret was encrypted with a different key than the service has now (HELDOUT_SECRETS_KEY, or "
            "`secrets-key` in its home). Restore that key, or rotate the webhook's secret."
        )


class SecretsUnavailable(HeldoutError, code="secrets_unavailable", status=503, title="Secrets cannot be encrypted"):
    """The key that encrypts webhook secrets can be neither read nor created; see `HELDOUT_SECRETS_KEY`."""

    def __init__(self) -> None:
        super().__init__(
            "The service has no key to encrypt webhook secrets, and cannot create one in its home. The operator has to "
            "set HELDOUT_SECRETS_KEY to a long random text, the same for every API process."
        )


class SpecUnreadable(
    HeldoutError, code="spec_unreadable", status=503, title="A stored job was written by another release"
):
    """Another release stored a job with a spec that this release does not understand: update the service.

    To list the jobs behind it, pass its id as `after`.
    """

    def __init__(self, job_id: str, found: str) -> None:
        super().__init__(
            f"This release does not understand the stored spec of {job_id} ({found}). Submit a new job, or have the "
            "operator update this service."
        )


class Internal(HeldoutError):
    """Something broke on our side; the detail only gives the request's id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Something broke on our side. The log has it under request {request_id}.")


class OperatorError(HeldoutError, code="operator", title="The command failed"):
    """Why `heldout up`, `migrate`, `keys` or `check` cannot do its work, in one line for a terminal."""


class QuotaExceeded(HeldoutError, code="quota_exceeded", status=429, title="The quota is used up"):
    """The owner has used up a quota; the detail says how much is used and allowed. See
    [quotas](../explanation/fair-share.md#quotas)."""

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


class TooManyRequests(HeldoutError, code="too_many_requests", status=429, title="Too many requests"):
    """The key sends more requests than `HELDOUT_RATE` allows; `Retry-After`, `RateLimit`."""

    def __init__(self, allowed: str, retry_after_s: int) -> None:
        super().__init__(
            f"This key may send {allowed}. Repeat the request in {retry_after_s} s. Event streams and `wait` make most "
            "requests unnecessary.",
            headers={"Retry-After": str(retry_after_s)},
        )


class OwnerSuspended(HeldoutError, code="owner_suspended", status=403, title="The owner is suspended"):
    """The operator has suspended the key's owner: nothing new is accepted, and models do not answer."""

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"The operator has suspended {owner}: nothing new is accepted, and none of their jobs will start. Existing "
            "data can be read, cancelled and deleted. Ask the operator."
        )


class TooManyDownloads(HeldoutError, code="too_many_downloads", status=429, title="Too many downloads at once"):
    """Too many responses above 64 KiB are still being sent to you; `Retry-After`."""

    def __init__(self, own: int) -> None:
        super().__init__(
            f"{own} large responses are being sent to you, and there is no room for another. Repeat the request when "
            f"{'one of them' if own else 'one to another owner'} is complete.",
            headers={"Retry-After": "5"},
        )
