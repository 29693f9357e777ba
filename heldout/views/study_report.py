"""The report of a study: its figures, with the sentences and curves that Markdown and HTML show."""

from typing import Any, Final, Literal

from pydantic import Field

from heldout.spec.job import JobSpec
from heldout.stored.final import GapsView, GapView
from heldout.views.base import View
from heldout.views.diagnosis import GapBudgetView
from heldout.views.study import StudyView

# Its other forms, by the media types that ask for them.
MARKDOWN: Final = "text/markdown"
HTML: Final = "text/html"

Effect = Literal["better", "worse", "mixed", "may_be_chance"]


class QuestionView(View):
    """What a reader asks, and the answer in plain words."""

    question: str
    answer: str


class BandView(View):
    """One figure of several trainings: their mean, and the lowest and the highest of them."""

    mean: float
    low: float
    high: float


class EpochBandView(View):
    """One epoch of an arm's trainings. A band is null where none of them has the figure."""

    epoch: int
    trainings: int = Field(description="How many had this epoch; a training that stopped early had fewer.")
    train_accuracy: BandView | None
    validation_accuracy: BandView | None
    train_loss: BandView | None
    validation_loss: BandView | None


class ReportArmView(View):
    """What an arm changed, and what came of it."""

    name: str
    idea: str | None = Field(description="Why the remedy may help; null for the base and for a client's own patch.")
    changes: list[str] = Field(description="Fields of the spec: path, value of the base, value of this arm.")
    effect: Effect | None = Field(
        description="By the adjusted intervals: `better` or `worse` in loss or accuracy and not the other way round in "
        "the other, `mixed` if it is, `may_be_chance` if both hold 0. null for the base, and before it was compared."
    )
    explanation: str
    gap: GapsView | None = Field(description="Training against held-out figures, by the arm's means.")
    curve: list[EpochBandView] = Field(description="Long trainings are thinned: first and last epoch are always there.")


class ReportBudgetView(View):
    """What the gap of an arm is made of, from training to test."""

    arm: str
    job: str | None = Field(
        description="The one job whose gap it is; null where it is the mean over an arm's trainings."
    )
    trainings: int = Field(1, description="Over how many trainings it is the mean.")
    whole: GapView = Field(description="From training to test: the sum of the terms.")
    gap: GapBudgetView

    @classmethod
    def of(cls, arm: str, job: str | None, gap: GapBudgetView, *, trainings: int = 1) -> "ReportBudgetView":
        losses = [term.loss for term in gap.terms if term.loss is not None]
        loss = sum(losses) if len(losses) == len(gap.terms) else None
        whole = GapView(accuracy=gap.train.accuracy - gap.test.accuracy, loss=loss)
        return cls(arm=arm, job=job, trainings=trainings, whole=whole, gap=gap)


class CommandView(View):
    """The same request twice: for a shell with `heldout`, and for one with curl alone."""

    what: str
    file: str | None = Field(description="Both read it; null where the request has no body.")
    body: dict[str, Any] | None = Field(description="The JSON in the file.")
    cli: str | None = Field(description="null where no command does it.")
    curl: str


class StudyReportView(View):
    """A study as it is read: the question, the answer, and all that it rests on."""

    object: Literal["study_report"]
    study: StudyView
    question: str
    answer: str = Field(description="One sentence.")
    in_short: list[QuestionView]
    arms: list[ReportArmView] = Field(description="In the order of the study's arms.")
    gaps: list[ReportBudgetView] = Field(description="Of base and winner, where they were tested.")
    gaps_missing: str | None = Field(None, description="Why `gaps` is empty, where what it is made of cannot be read.")
    winning_spec: JobSpec | None = Field(description="null without a winner.")
    commands: list[CommandView] = Field(description="What does it again.")
