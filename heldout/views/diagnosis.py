"""A diagnosis: why test results are worse than training results."""

from typing import Any, Literal

from pydantic import Field

from heldout.diagnosis import Diagnosis
from heldout.diagnosis.confidence import Certainty, get_certainty
from heldout.diagnosis.findings import Cause, SuggestedRemedy, Tier
from heldout.diagnosis.gap import How, TermCode
from heldout.diagnosis.key_figures import FigureCode
from heldout.proofs.outcomes import Tried
from heldout.stored.evaluation import StoredColumn
from heldout.stored.gap import Calibration
from heldout.stored.results import Figure, SplitResult
from heldout.verdicts import Effort
from heldout.views.base import ErrorView, Page, RequestView, Time, View, make_view

# Smaller values would be written as 0.0 points, or as a loss of 0.000.
SMALLEST_SHARE = SMALLEST_LOSS = 0.0005


class RemedyView(View):
    """A change that should help. `patch` is a merge patch (RFC 7396) of the job's spec; null for external histories."""

    name: str
    reason: str
    patch: dict[str, Any] | None
    request: RequestView | None = Field(
        None, description="Fixes the job's dataset in a new version; null if the service cannot do this."
    )


class ExplainedView(View):
    """How much of the gap a finding explains: accuracy as a fraction, loss in nats, with 95% intervals.

    Positive if it widens the gap. An interval is null if there are too few images for one.
    """

    accuracy: float
    interval: tuple[float, float] | None
    loss: Figure
    loss_interval: tuple[float, float] | None


class TermView(View):
    """One part of the gap between training and test, with 95% intervals; positive if it widens the gap."""

    code: TermCode
    accuracy: float = Field(description="As a fraction. The terms add up to training minus test accuracy.")
    accuracy_interval: tuple[float, float] | None
    loss: Figure = Field(
        description="In nats. The terms add up to test minus training loss. Null if probabilities are unknown."
    )
    loss_interval: tuple[float, float] | None
    how: How
    finding: str | None = Field(description="The code of the finding that it belongs to; null if it belongs to none.")
    explanation: str

    @property
    def is_nothing(self) -> bool:
        """Whether it would be shown as 0.0 points and a loss of 0.000, so that tables leave it out."""
        return abs(self.accuracy) < SMALLEST_SHARE and abs(self.loss or 0.0) < SMALLEST_LOSS


class GapBudgetView(View):
    """The gap between training and test, term by term. Terms that do not apply are absent."""

    train: SplitResult
    validation: SplitResult | None = Field(description="Null for uploaded predictions without validation.")
    test: SplitResult
    terms: list[TermView]
    family_of_chance: int | None = Field(
        None,
        description="In groups of this many images, a gap that is certain for independent images may be chance. "
        "Null if that does not decide it.",
    )
    found_groups: str | None = Field(
        None,
        description="The value of `group_by` whose groups the intervals, and the comparison of validation with test, "
        "count: found by file names and features, and not declared. Null if they count declared groups only.",
    )


class FindingView(View):
    """Something that explains or distorts the figures, with its evidence."""

    code: str
    severity: Literal["info", "warning", "critical"]
    evidence: dict[str, Any]
    explanation: str
    remedies: list[RemedyView]
    explains: ExplainedView | None = Field(None, description="Null if unknown.")
    confidence: float | None = Field(None, description="Probability that the finding is true; null if not calibrated.")


class FigureAfterView(View):
    """A served figure now and once a cause is fixed, both measured on the same images.

    If other causes are fixed first, these are the images without copies and with pixel values undone.
    """

    figure: Literal["test_accuracy", "validation_accuracy"]
    now: float
    after: float
    explanation: str = Field(description="The same in a sentence.")


class CauseView(View):
    """A finding that matters, in the order in which to fix things."""

    code: str
    tier: Tier = Field(
        description="The reason for its place in the order. In this order: figures are not true, training is broken, "
        "part of the remaining gap, only costs loss, unknown cost."
    )
    points: float | None = Field(
        description="How much it changes a served figure, or how much of the gap it explains: accuracy as a fraction, "
        "never negative. Null if unknown."
    )
    interval: tuple[float, float] | None = Field(description="95% interval of `points`; null if unknown.")
    loss: Figure | None = Field(description="How much of the loss it explains, in nats; null if unknown.")
    loss_interval: tuple[float, float] | None
    what_to_do: str
    effort: Effort = Field(description="The least effort that fixes it.")
    request: RequestView | None = Field(
        None, description="Fixes the job's dataset in a new version; null if the service cannot do this."
    )
    figure_after: FigureAfterView | None = Field(
        None, description="The accuracy to expect once it is fixed; null if not measured."
    )


class KeyFigureView(View):
    """A figure at the top of a diagnosis, as people read it."""

    code: FigureCode
    name: str = Field(description="`Test accuracy`.")
    text: str = Field(description="The figure: `91.2%`, `not measured`.")
    note: str = Field(description="What it was counted on, continuing `text`: `of 400 images`. May be empty.")
    value: float | None = Field(description="As a fraction; of the weakest class its recall. Null if not measured.")

    @property
    def line(self) -> str:
        """`91.2% of 400 images`."""
        return f"{self.text} {self.note}".rstrip()


class TriedView(View):
    """An experiment that was tried to make sure of a verdict."""

    experiment: str
    title: str
    question: str
    status: Literal["proven", "refuted", "open"] = Field(
        description="Whether it proves or refutes something; `open` if it decides nothing."
    )
    sentence: str = Field(description="What was tried and what came of it, with figures.")
    answers: dict[str, Literal["proven", "refuted", "open"]] = Field(
        description="By code of a finding: whether the experiment proves or refutes it."
    )
    points: float | None = Field(description="The effect that decides; accuracy as a fraction. Null if there is none.")
    interval: tuple[float, float] | None = Field(description="95% interval of `points`, over images and seeds.")
    trainings: int = Field(description="How many trainings it took, shared ones included.")
    reads_test: bool = Field(description="Whether labels of the test split decide it.")


class DiagnosisView(View):
    """The verdict: the code of what to fix first, `healthy`, or `cannot_tell`. Epochs count from 1."""

    object: Literal["diagnosis"]
    verdict: str
    headline: str = Field("", description="What is wrong, in at most 12 words.")
    summary: str = Field("", description="What it costs and what to do next, in at most two sentences.")
    figures: list[KeyFigureView] = Field(
        [],
        description="Accuracy on each split, the gap to test (or else validation), and the weakest class, whatever the "
        "verdict. Of the kept weights or, before they are measured, of the last epoch.",
    )
    certainty: Certainty | None = Field(
        None,
        description="`proven` if experiments prove the verdict; else `confidence` in words. Null if not calibrated.",
    )
    causes: list[CauseView] = Field([], description="What matters, in the order in which to fix it.")
    best_epoch: int | None = Field(description="Epoch with the lowest validation loss.")
    onset_epoch: int | None = Field(
        description="First epoch from which validation stays worse than its best value by more than noise."
    )
    explanation: str
    findings: list[FindingView]
    caveats: list[str] = Field([], description="Codes of findings that make figures misleading, whatever the verdict.")
    gap: GapBudgetView | None = Field(None, description="Null without answers to training and test images.")
    confidence: float | None = Field(None, description="Probability that the verdict is right; null if not calibrated.")
    calibration: Calibration | None = Field(None, description="Null if probabilities are unknown.")
    tried: list[TriedView] = Field([], description="The experiments that were tried to make sure, in order.")
    groups: dict[str, list[StoredColumn]] = Field(
        {}, description="Results for the values of each column of the dataset, by held-out split."
    )
    left_out: list[ErrorView] = Field([], description="Lost or damaged files that the verdict could not use.")

    def __str__(self) -> str:
        return f"{self.headline}\n{self.summary}" if self.headline else self.explanation

    def _repr_html_(self) -> str:
        from heldout.documents.diagnosis import build_diagnosis
        from heldout.documents.html import render_notebook

        return render_notebook(build_diagnosis(self))

    @classmethod
    def of(cls, diagnosis: Diagnosis, *, dataset_id: str | None = None) -> "DiagnosisView":
        """Make the view of a diagnosis, for the API or the command line.

        Args:
            dataset_id: id of the job's dataset; None if the service does not have it.
        """
        return make_view(
            cls,
            diagnosis,
            object="diagnosis",
            certainty=get_certainty(diagnosis.confidence, is_proven=diagnosis.is_proven),
            tried=[build_tried(tried) for tried in diagnosis.tried],
            causes=[_build_cause(cause, diagnosis, dataset_id) for cause in diagnosis.causes],
            findings=[
                make_view(
                    FindingView, finding, remedies=[_build_remedy(remedy, dataset_id) for remedy in finding.remedies]
                )
                for finding in diagnosis.findings
            ],
        )


class KeptDiagnosisView(DiagnosisView):
    """A diagnosis that its owner keeps."""

    id: str
    created_at: Time


class DiagnosisPage(Page[KeptDiagnosisView]):
    """A page of the diagnoses that their owner keeps, newest first; `next` is the `after` of the next page."""


def build_tried(tried: Tried) -> TriedView:
    judgement = tried.judgement
    return make_view(
        TriedView,
        judgement,
        experiment=tried.experiment,
        title=tried.title,
        question=tried.question,
        answers=dict(judgement.answers),
        trainings=tried.trainings,
        reads_test=tried.reads_test,
    )


def _build_cause(cause: Cause, diagnosis: Diagnosis, dataset_id: str | None) -> CauseView:
    """Build the view of a cause with the first request that fixes it."""
    remedies = [remedy for finding in diagnosis.findings if finding.code == cause.code for remedy in finding.remedies]
    requests = (_build_remedy(remedy, dataset_id).request for remedy in remedies)
    return make_view(CauseView, cause, request=next((request for request in requests if request is not None), None))


def _build_remedy(remedy: SuggestedRemedy, dataset_id: str | None) -> RemedyView:
    request = None
    if remedy.fix is not None and dataset_id is not None:
        request = RequestView(method="POST", path=f"/v1/datasets/{dataset_id}/versions", body=remedy.fix)
    return make_view(RemedyView, remedy, request=request)
