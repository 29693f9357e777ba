"""A study's external trainings: what a runner is asked to do, and what it has reported."""

from typing import Any, Literal

from pydantic import Field

from heldout.stored.results import Figure
from heldout.views.base import ErrorView, Time, View
from heldout.views.study import ConclusionView, StudyStatus


class AssignedRunView(View):
    """A training that a runner holds until its lease ends."""

    run: str = Field(description="`run_…`")
    token: str = Field(description="To renew the lease and report the result.")
    arm: str
    parameters: dict[str, Any]
    seed: int = Field(description="From 0. The same for every arm, so that trainings are compared in pairs.")
    fold: int | None = Field(description="Which fold validates this training; null for fixed splits.")
    folds: int | None
    lease_s: float = Field(description="Renew it with `POST …/heartbeat` at least this often.")


class AskView(View):
    """What a runner does next: train `run`, ask again after `wait_s`, or stop because the study has ended."""

    object: Literal["ask"]
    study_id: str
    status: StudyStatus
    run: AssignedRunView | None = None
    wait_s: float | None = Field(None, description="Ask again after this time; null with a run, or after the end.")
    headline: str = ""
    conclusion: ConclusionView | None = None


class ReportedSplitView(View):
    """A training's results on one split."""

    count: int
    accuracy: Figure


class RunView(View):
    """An external training of a study. Test figures are sealed until the base and the winner are compared on them."""

    id: str
    object: Literal["run"]
    study_id: str
    arm: str
    seed: int
    fold: int | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "paused"]
    runner: str | None = Field(description="The name that its runner gave.")
    attempts: int = Field(description="How many times it was leased.")
    splits: dict[str, ReportedSplitView]
    seconds: Figure
    error: ErrorView | None
    accepted: bool | None = Field(
        None, description="After a result was sent: whether it counts. false if another result came first."
    )
    lease_expires_at: Time | None = None
    finished_at: Time | None = None


class RunList(View):
    """The external trainings of a study, by seed."""

    object: Literal["list"]
    data: list[RunView]
