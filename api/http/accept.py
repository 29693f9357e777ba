"""Which of several media types an Accept header likes best (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str:
    """One of the offered types: the first of those that are wanted most; the first of all where none is wanted.

    Args:
        accept: the header; empty where there is none. What is malformed in it is ignored.
        offered: such as `text/html`, in the service's own order.
    """
    ranges = [found for part in accept.lower().split(",") if (found := _range_of(part)) is not None]
    wanted = [_quality(one, ranges) for one in offered]
    best = max(wanted)
    return offered[wanted.index(best)] if best > 0 else offered[0]


def _range_of(part: str) -> tuple[str, float] | None:
    """`text/*; q=0.5` as `text/*` and 0.5."""
    media_type, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
    return (media_type, quality) if "/" in media_type and 0 <= quality <= 1 else None


def _quality(offered: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the range that names it most exactly; 0 where none does."""
    for form in (offered, f"{offered.partition('/')[0]}/*", "*/*"):
        qualities = [quality for media_type, quality in ranges if media_type == form]
        if qualities:
            return max(qualities)
    return 0.0
