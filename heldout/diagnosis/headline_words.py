"""The parts of a headline and a summary, and how figures are written in them."""

from dataclasses import dataclass

from heldout.diagnosis.thresholds import MAX_BESIDE_HALF, MIN_SHARE_IN_PERCENT
from heldout.words import percent


@dataclass(frozen=True)
class Words:
    """The text for one cause.

    effect: a sentence with figures. action: what to do. then: a shorter imperative, used if the cause comes second.
    before_next: the action as it reads before `, then …`; None to use `action`, empty if nothing may follow it.
    """

    headline: str
    effect: str
    action: str
    then: str = ""
    before_next: str | None = None


def of_100(share: float) -> str:
    """`91 of 100`; never rounded to none or all."""
    if share in (0, 1):
        return f"{round(100 * share)} of 100"
    rounded = round(100 * share)
    return "more than 99 of 100" if rounded == 100 else "fewer than 1 of 100" if rounded == 0 else f"{rounded} of 100"


def share_of(images: int, count: int, name: str) -> str:
    """`Half of the test images`, `12% of the test images`, `3 of 400 test images`."""
    share = images / count
    if images == count:
        return f"All {name} images"
    if abs(share - 1 / 2) < MAX_BESIDE_HALF:
        return f"Half of the {name} images"
    if share >= MIN_SHARE_IN_PERCENT:
        return f"{percent(share, 0)} of the {name} images"
    return f"{images:,} of {count:,} {name} images"


def part_of(share: float) -> str:
    """`a quarter`, `half`, `31%`: what an estimated share is called."""
    for name, exact in (("a quarter", 1 / 4), ("half", 1 / 2), ("three quarters", 3 / 4)):
        if abs(share - exact) < MAX_BESIDE_HALF:
            return name
    return percent(share, 0)


def quote_name(label: object) -> str:
    text = str(label)
    return f'"{text}"' if len(text) <= 24 else f'"{text[:23]}…"'
