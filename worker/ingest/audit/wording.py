"""How findings say counts and shares: `45 of 416 validation images (11%)`."""

from collections.abc import Sequence

from heldout.words import rough_percent

ADJECTIVES = {"train": "training", "validation": "validation", "test": "test"}


def describe_part(count: int, total: int, split: str | None = None) -> str:
    """Say `45 of 416 validation images (11%)`; without a split, of all splits together."""
    kind = f"{ADJECTIVES[split]} " if split else ""
    return f"{count:,} of {total:,} {kind}images ({rough_percent(count / total)})"


def join_words(words: Sequence[str], longest: int = 3) -> str:
    """`a, b, c and 2 more`."""
    more = f" and {len(words) - longest:,} more" if len(words) > longest else ""
    return ", ".join(words[:longest]) + more
