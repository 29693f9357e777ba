"""Requests for more than an owner may use of the service."""

from heldout.errors.base import HeldoutError


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
