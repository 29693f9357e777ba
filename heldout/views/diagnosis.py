"""A diagnosis: why test results are worse than training results."""

from typing import Any, Literal

from pydantic import Field

from heldout.diagnosis import Diagnosis
from heldout.diagnosis.findings import Remedy
from heldout.diagnosis.gap.budget import Gap, How, TermCode, accuracy_of
from heldout.intervals import wilson_interval
from heldout.stored.final import SplitResult
from heldout.stored.gap import Tally
from heldout.views.base import View


class RequestView(View):
    """A request that carries a remedy out; `body` is JSON."""

    method: str
    path: str
    body: dict[str, Any]


class RemedyView(View):
    """A change that should help. `patch` is a merge patch (RFC 7396) of the job's spec; null for foreign histories."""

    name: str
    reason: str
    patch: dict[str, Any] | None
    request: RequestView | None = Field(
        None, description="Mends the job's dataset in a new version; null where the service cannot do it."
    )


class ExplainedView(View):
    """How much of the gap a finding explains: accuracy as a fraction, loss in nats, with 95 % intervals.

    Positive where it widens the gap. An interval is null where there are too few images for one.
    """

    accuracy: float
    interval: tuple[float, float] | None
    loss: float
    loss_interval: tuple[float, float] | None


class TermView(View):
    """One part of the gap between training and test, with 95 % intervals; positive where it widens the gap."""

    code: TermCode
    accuracy: float = Field(description="As a fraction. The terms add up to training minus test accuracy.")
    accuracy_interval: tuple[float, float] | None
    loss: float = Field(description="In nats. The terms add up to test minus training loss.")
    loss_interval: tuple[float, float] | None
    how: How
    finding: str | None = Field(description="The code of the one finding that it belongs to; null if there is none.")
    explanation: str


class GapBudgetView(View):
    """The gap of a job's kept weights, term by term from training to test. Terms that do not apply are absent."""

    train: SplitResult
    validation: SplitResult
    test: SplitResult
    terms: list[TermView]

    @classmethod
    def of(cls, gap: Gap) -> "GapBudgetView":
        return cls(
            train=_split_of(gap.train),
            validation=_split_of(gap.validation),
            test=_split_of(gap.test),
            terms=[TermView(**vars(term)) for term in gap.terms],
        )


def _split_of(tally: Tally) -> SplitResult:
    return SplitResult(
        loss=tally.loss,
        accuracy=accuracy_of(tally),
        count=tally.count,
        interval=wilson_interval(tally.correct, tally.count),
    )


class FindingView(View):
    """Something that explains the figures, or spoils them, with the numbers behind it."""

    code: str
    severity: Literal["info", "warning", "critical"]
    evidence: dict[str, Any]
    explanation: str
    remedies: list[RemedyView]
    explains: ExplainedView | None = Field(None, description="Null where nothing can be said.")
    confidence: float | None = Field(None, description="Probability that the finding is true; null if not calibrated.")


class DiagnosisView(View):
    """One verdict: the code of the finding that explains most of the gap, `healthy`, or `cannot_tell`.

    Without a measured gap it is the most serious finding. Epochs count from 1.
    """

    object: Literal["diagnosis"]
    verdict: str
    best_epoch: int | None = Field(description="Epoch with the lowest validation loss.")
    onset_epoch: int | None = Field(
        description="First epoch from which validation stays worse than its best by more than noise."
    )
    explanation: str
    findings: list[FindingView]
    caveats: list[str] = Field([], description="Codes of findings that make figures untrue, whatever the verdict is.")
    gap: GapBudgetView | None = Field(None, description="Null without counts of a finished job's kept weights on test.")
    confidence: float | None = Field(None, description="Probability that the verdict is right; null if not calibrated.")

    @classmethod
    def of(cls, diagnosis: Diagnosis, *, dataset_id: str | None = None) -> "DiagnosisView":
        """The view of a diagnosis, whether the API or the command line has made it.

        Args:
            dataset_id: of the job's dataset; None where the service does not have it.
        """
        return cls(
            object="diagnosis",
            verdict=diagnosis.verdict,
            best_epoch=diagnosis.best_epoch,
            onset_epoch=diagnosis.onset_epoch,
            explanation=diagnosis.explanation,
            findings=[
                FindingView(
                    code=one.code,
                    severity=one.severity,
                    evidence=one.evidence,
                    explanation=one.explanation,
                    remedies=[_remedy_of(remedy, dataset_id) for remedy in one.remedies],
                    explains=None if one.explains is None else ExplainedView(**vars(one.explains)),
                    confidence=one.confidence,
                )
                for one in diagnosis.findings
            ],
            caveats=list(diagnosis.caveats),
            gap=None if diagnosis.gap is None else GapBudgetView.of(diagnosis.gap),
            confidence=diagnosis.confidence,
        )


def _remedy_of(remedy: Remedy, dataset_id: str | None) -> RemedyView:
    request = None
    if remedy.mend is not None and dataset_id is not None:
        request = RequestView(method="POST", path=f"/v1/datasets/{dataset_id}/versions", body=remedy.mend)
    return RemedyView(name=remedy.name, reason=remedy.reason, patch=remedy.patch, request=request)
