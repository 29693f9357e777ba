"""What people read about experiments: what was tried, what came of it, and what is planned."""

from collections.abc import Sequence

from heldout.words import POINTS, format_duration, format_signed, format_signed_range, join_with_and, pluralize

UNDECIDED = "that does not decide it"


def describe_points(points: float, interval: tuple[float, float]) -> str:
    """`0.1 points (−0.6 to +0.8)`."""
    shown = format_signed(POINTS, abs(points), interval).removeprefix("+")
    return f"{shown} points ({format_signed_range(POINTS, points, interval)})"


def describe_gain(points: float, interval: tuple[float, float]) -> str:
    """`gains 3.1 points (+1.2 to +5.0)` or `costs 0.2 points (−1.0 to +0.6)`."""
    return f"{'costs' if points < 0 else 'gains'} {describe_points(points, interval)}"


def describe_change(points: float, interval: tuple[float, float]) -> str:
    """`rises by 3.1 points (+1.2 to +5.0)` or `falls by 0.2 points (−1.0 to +0.6)`."""
    return f"{'falls' if points < 0 else 'rises'} by {describe_points(points, interval)}"


def number_word(count: int) -> str:
    """Small counts in words, as a sentence begins."""
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
    return words[count] if count < len(words) else f"{count:,}"


def describe_cost(trainings: int, seconds: float) -> str:
    """`3 short trainings, about 40 s`."""
    return f"{pluralize(trainings, 'short training')}, about {format_duration(max(1.0, seconds))}"


def describe_state(status: str, reason: str | None, name: str, cost: str, *, is_waiting: bool = False) -> str:
    """How a proof stands.

    Args:
        name: the verdict's name. cost: of the plan, from `describe_cost`; empty if nothing is planned.
        is_waiting: whether none of its trainings runs yet.
    """
    if status == "planned":
        return f"To make sure: {cost}." if cost else "No short training would make this verdict more certain."
    if status == "running":
        return "Waiting for a worker." if is_waiting else f"Making sure. Still planned: {cost or 'nothing more'}."
    return {
        "proven": f"Proven: {name}.",
        "budget": "The budget is spent, and the verdict is not proven.",
        "nothing_left": "Nothing is left to try, and the verdict is not proven.",
        "cancelled": "Cancelled. What was tried until then is kept.",
    }[reason or "cancelled"]


def describe_left_out(names: Sequence[str]) -> str:
    """What a study does not try, after a proof. names: of refuted verdicts."""
    are = "is" if len(names) == 1 else "are"
    return f"Experiments have refuted that {join_with_and(names)} {are} the cause, so no remedies are chosen for that."
