"""More than an owner may take of the service."""

from heldout.errors.base import HeldoutError


class QuotaExceeded(HeldoutError):
    """The owner has as much of something as it may have; used and allowed are said; see
    [quotas](../explanation/fair-share.md#quotas)."""

    code, status, title = "quota_exceeded", 429, "The quota is used up"

    def __init__(
        self, quota: str, what: str, used: float, allowed: int, *, asked: int = 1, retry_after_s: int | None = None
    ) -> None:
        """asked: how many more the request takes. retry_after_s: seconds until there is room for sure."""
        more = "" if asked == 1 else f", and this asks for {asked:,} more"
        when = "Free some, or ask" if retry_after_s is None else f"There is room in {retry_after_s:,} seconds. Or ask"
        super().__init__(
            f"The quota `{quota}` ({what}): used {used:,.0f}, allowed {allowed:,}{more}. {when} the operator for more.",
            headers={} if retry_after_s is None else {"Retry-After": str(retry_after_s)},
        )


class TooManyRequests(HeldoutError):
    """The key sends more requests than `HELDOUT_RATE` allows; `Retry-After`, `RateLimit`."""

    code, status, title = "too_many_requests", 429, "Too many requests"

    def __init__(self, allowed: str, retry_after_s: int) -> None:
        super().__init__(
            f"This key may send {allowed}. Send the request again in {retry_after_s} s; streams of events and `wait` "
            "save most requests.",
            headers={"Retry-After": str(retry_after_s)},
        )


class OwnerSuspended(HeldoutError):
    """The operator has suspended the key's owner: nothing new is accepted, and models answer no images."""

    code, status, title = "owner_suspended", 403, "The owner is suspended"

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"The operator has suspended {owner}: nothing new is accepted and no job of theirs begins. What is there "
            "can be read, cancelled and deleted. Ask the operator."
        )


class TooManyDownloads(HeldoutError):
    """All places that you may have for answers above 64 KiB are taken by ones that are still being sent;
    `Retry-After`."""

    code, status, title = "too_many_downloads", 429, "Too many downloads at once"

    def __init__(self, own: int) -> None:
        super().__init__(
            f"{own} large answers are being sent to you, and there is no place for another. Repeat the request when "
            f"{'one of them' if own else 'one to another owner'} is complete.",
            headers={"Retry-After": "5"},
        )
