"""Why an upload was rejected: a stable code, the member at fault, and what to do."""

from collections.abc import Sequence
from typing import Any

from heldout.dataset_lifecycle import RETRIED_REJECTIONS, RejectionCode

# Faults of one image file, which the others may do without, and how a list of such files says them.
BROKEN_FILES = {
    RejectionCode.UNREADABLE_MEMBER: "no image, or broken",
    RejectionCode.UNSUPPORTED_IMAGE: "of a format that is not read",
    RejectionCode.ANIMATED_IMAGE: "of several frames",
    RejectionCode.IMAGE_TRUNCATED: "cut off",
    RejectionCode.IMAGE_TOO_LARGE: "of too many pixels",
    RejectionCode.IMAGE_BOMB: "of more data than its pixels need",
}
MAX_LISTED_FILES = 100


class Rejection(Exception):
    """No dataset can be made of the upload; its text is shown to the owner.

    Args: detail says what was received, what is expected and what to do; member names the file, array or row at fault.
    """

    def __init__(self, code: RejectionCode, detail: str, member: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.member = None if member is None else printable(member)

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt at the same upload can end differently."""
        return self.code in RETRIED_REJECTIONS

    def __reduce__(self) -> tuple[Any, ...]:
        return Rejection, (self.code, self.detail, self.member)

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code.value, "detail": self.detail, "member": self.member}


def broken_files(faults: Sequence[Rejection]) -> Rejection:
    """One rejection for all files that cannot be read: with one its own text, with several a list of them."""
    skip = "Or go on without: `skip_broken` (`--skip-broken`)."
    first = faults[0]
    if len(faults) == 1:
        return Rejection(first.code, f"{first.detail} {skip}", first.member)
    listed = ", ".join(f"{fault.member!r} ({BROKEN_FILES[fault.code]})" for fault in faults[:MAX_LISTED_FILES])
    more = f" and {len(faults) - MAX_LISTED_FILES:,} more" if len(faults) > MAX_LISTED_FILES else ""
    detail = f"{len(faults):,} files cannot be read: {listed}{more}. Save them again, or remove them. {skip}"
    return Rejection(first.code, detail, first.member)


def printable(name: str, longest: int = 200) -> str:
    """A name as it may be shown: control characters escaped, its middle left out where it is long."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    if len(shown) <= longest:
        return shown
    half = longest // 2
    return f"{shown[:half]}…{shown[-half:]}"


def amount(size: int) -> str:
    """Bytes as people read them: `1.5 GiB`."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
