"""A judge of candidates: its budget of looks, and every attempt."""

from typing import Literal

from pydantic import Field

from heldout.stored.results import Figure
from heldout.views.base import Time, View
from heldout.views.study_figures import JudgeAnswer


class CandidateView(View):
    """One candidate that was sent: who, what, when, and the answer."""

    number: int
    arm: str
    by: str | None = Field(description="The API key that sent it.")
    at: Time
    answer: JudgeAnswer | Literal["base", "refused"] = Field(
        description="`better`: surely better than the best so far. `cannot_tell`: not surely; the judge "
        "says no more before the close. `spent`: no look was left. `base`: the first arm. `refused`: it was not judged."
    )
    gain: Figure = Field(None, description="If it is better, by at least this share, rounded down.")
    explanation: str
    look: int | None = Field(None, description="The look that it spent; null if it spent none.")


class JudgeView(View):
    """A judge. Before its close it tells no figures, only whether a candidate is surely better than the best so far."""

    looks: int = Field(description="How many candidates it may judge.")
    spent: int = Field(description="How many it has judged.")
    tried: int = Field(description="All attempts: the base, and what was judged or refused.")
    error: float = Field(description="How often it may ever call a candidate better that is not, over all looks.")
    classes: list[str]
    validation_images: int
    test_images: int = Field(description="Read once, at the close.")
    best: str | None = Field(description="The best arm so far; null before the base is there.")
    attempts: list[CandidateView] = Field(
        description="Oldest first. Of those that were not judged, the newest 50: `tried` minus these are not listed."
    )
