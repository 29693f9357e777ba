"""A proof: the experiments that make sure of a job's verdict, planned, running and tried."""

from typing import Literal

from pydantic import Field

from heldout.diagnosis.confidence import Certainty
from heldout.lifecycle.resources import ProofStatus
from heldout.views.base import Time, View
from heldout.views.diagnosis import TriedView


class PlannedView(View):
    """An experiment that the plan has: the next one first."""

    experiment: str
    question: str
    trainings: int
    work: float = Field(description="In units of the job's own training: images times epochs, counted.")
    seconds: float = Field(description="The same in seconds, by how long the job's own training took.")


class TrialView(View):
    """One training of a proof."""

    variant: str = Field(description="What it changes; `base` is the job's own spec, `+1` and `+2` are other seeds.")
    job: str | None = Field(description="Id of the training; null if it could not be queued.")
    status: str = Field(description="`queued`, `running`, `succeeded`, `failed`, `cancelled` or `refused`.")
    error: str | None = Field(description="Code of the reason why there are no figures.")
    train_accuracy: float | None
    validation_accuracy: float | None


class NotTriedView(View):
    """An experiment that would settle something but cannot be tried."""

    experiment: str
    question: str
    why: str


class CostView(View):
    """What trainings cost."""

    trainings: int
    seconds: float


class ProofView(View):
    """The proof of a job's verdict. Before it is ordered, `status` is `planned`, and `plan` says what it would do."""

    object: Literal["proof"]
    job: str
    status: Literal["planned"] | ProofStatus
    reason: Literal["proven", "budget", "nothing_left", "cancelled"] | None = Field(
        description="Why it has ended: the verdict is proven, the budget is spent, nothing is left to try, or a client "
        "has cancelled it."
    )
    is_automatic: bool = Field(description="Whether a worker began it by itself.")
    verdict: str = Field(description="What comes first by what is known now.")
    certainty: Certainty | None
    summary: str = Field(description="How it stands, in a sentence.")
    cost: CostView = Field(description="What the plan costs; the next result may shorten it.")
    spent: CostView
    plan: list[PlannedView]
    trials: list[TrialView]
    tried: list[TriedView]
    not_tried: list[NotTriedView]
    created_at: Time | None
    finished_at: Time | None

    def __str__(self) -> str:
        return self.summary

    @property
    def has_ended(self) -> bool:
        return self.status in (ProofStatus.ENDED, ProofStatus.CANCELLED)
