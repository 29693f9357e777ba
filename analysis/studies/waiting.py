"""What a study waits for before it can begin, and how that is described."""

from collections.abc import Mapping
from typing import Any, Literal

WaitsFor = Literal["fixed_version", "copies"]
# The key that only the plan of a waiting study has: the order as received.
ASKED = "asked"
# What the study waits for. The braces stand for the version.
WAITS_FOR: Mapping[WaitsFor, str] = {
    "fixed_version": "the fixed version {} is being made",
    "copies": "the search for copies in {} has not ended",
}


def has_begun(plan: Mapping[str, Any]) -> bool:
    """Return whether the plan belongs to a study whose trainings are known."""
    return ASKED not in plan


def describe_wait(plan: Mapping[str, Any], version: str) -> str | None:
    """Say what is being done before the study can begin; None once it has begun.

    Args:
        version: of the dataset, `name@version`.
    """
    return None if has_begun(plan) else WAITS_FOR[plan["waits_for"]].format(version)
