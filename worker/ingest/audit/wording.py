"""How findings say counts and shares: `45 of 416 validation images (11 %)`."""

from collections.abc import Sequence

ADJECTIVES = {"train": "training", "validation": "validation", "test": "test"}


def percent(share: float) -> str:
    """A share for people: `11 %`, `0.6 %`; never `0 %` or `100 %` for a part."""
    shown = 100 * share
    if 0 < shown < 1:
        return f"{shown:.1g} %" if shown >= 0.001 else "less than 0.001 %"
    if 99 < shown < 100:
        return "more than 99 %"
    return f"{shown:.0f} %"


def part_of_images(count: int, total: int, split: str | None = None) -> str:
    """`45 of 416 validation images (11 %)`; of all splits together without a split."""
    kind = f"{ADJECTIVES[split]} " if split else ""
    return f"{count:,} of {total:,} {kind}images ({percent(count / total)})"


def listed(words: Sequence[str], longest: int = 3) -> str:
    """`a, b, c and 2 more`."""
    more = f" and {len(words) - longest:,} more" if len(words) > longest else ""
    return ", ".join(words[:longest]) + more
