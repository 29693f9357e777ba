"""The report of a study: its figures, with the sentences and curves of the Markdown and HTML forms."""

from typing import Any, Final, Literal

from pydantic import Field

from heldout.spec.job import JobSpec
from heldout.stored.results import GapsView, GapView
from heldout.views.base import View
from heldout.views.diagnosis import GapBudgetView, KeyFigureView
from heldout.views.study import StudyView
from heldout.views.study_figures import Effect

# Media types that request the other forms.
MARKDOWN: Final = "text/markdown"
HTML: Final = "text/html"


class QuestionView(View):
    """A reader's question and the answer in plain words."""

    question: str
    answer: str


class BandView(View):
    """One figure of several trainings: mean, lowest and highest value."""

    mean: float
    low: float
    high: float


class EpochBandView(View):
    """One epoch of an arm's trainings. A band is null if none of them has the figure."""

    epoch: int
    trainings: int = Field(description="How many trainings reached this epoch; some may have stopped earlier.")
    train_accuracy: BandView | None
    validation_accuracy: BandView | None
    train_loss: BandView | None
    validation_loss: BandView | None


class ReportArmView(View):
    """What an arm changed, and its result."""

    name: str
    idea: str | None = Field(description="Why the remedy may help; null for the base and for a client's own patch.")
    changes: list[str] = Field(description="Fields of the spec: path, value of the base, value of this arm.")
    effect: Effect | None = Field(
        description="By the adjusted intervals. `better` or `worse`: in loss or accuracy, and not the opposite in the "
        "other measure. `mixed`: better in one and worse in the other. `may_be_chance`: both include 0. null for the "
        "base and before the comparison."
    )
    explanation: str
    gap: GapsView | None = Field(description="Gaps between training and held-out figures, from the arm's means.")
    curve: list[EpochBandView] = Field(
        description="Long trainings are thinned out, but always include the first and last epoch."
    )


class ReportFiguresView(View):
    """The key figures of an arm, as means over its trainings."""

    arm: str
    trainings: int
    figures: list[KeyFigureView]


class ReportBudgetView(View):
    """The gap of an arm between training and test, term by term."""

    arm: str
    job: str | None = Field(description="The job whose gap it is; null if it is the mean over the arm's trainings.")
    trainings: int = Field(1, description="Number of trainings in the mean.")
    whole: GapView = Field(description="The whole gap: the sum of the terms.")
    gap: GapBudgetView

    @classmethod
    def of(cls, arm: str, job: str | None, gap: GapBudgetView, *, trainings: int = 1) -> "ReportBudgetView":
        losses = [term.loss for term in gap.terms if term.loss is not None]
        loss = sum(losses) if len(losses) == len(gap.terms) else None
        whole = GapView(accuracy=gap.train.accuracy - gap.test.accuracy, loss=loss)
        return cls(arm=arm, job=job, trainings=trainings, whole=whole, gap=gap)


class CommandView(View):
    """One request in two forms: for a shell with `heldout`, and for a shell with only curl."""

    what: str
    file: str | None = Field(description="File that both read; null if the request has no body.")
    body: dict[str, Any] | None = Field(description="The JSON in the file.")
    cli: str | None = Field(description="null if there is no such command.")
    curl: str


class StudyReportView(View):
    """A study for readers: the question, the answer, and the evidence."""

    object: Literal["study_report"]
    study: StudyView
    question: str
    answer: str = Field(description="One sentence.")
    figures: list[ReportFiguresView] = Field(
        [], description="Accuracy on each split, the gap and the weakest class, of the base and of the winner."
    )
    in_short: list[QuestionView]
    arms: list[ReportArmView] = Field(description="In the order of the study's arms.")
    gaps: list[ReportBudgetView] = Field(description="Gaps of base and winner, if they were tested.")
    gaps_missing: str | None = Field(None, description="Why `gaps` is empty, if stored files cannot be read.")
    winning_spec: JobSpec | None = Field(description="null without a winner.")
    commands: list[CommandView] = Field(description="How to repeat the study.")
