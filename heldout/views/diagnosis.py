"""A diagnosis: why test results are worse than training results."""

from typing import Any, Literal

from pydantic import Field

from heldout.diagnosis import Diagnosis
from heldout.views.base import View


class RemedyView(View):
    """A change that should help. `patch` is a merge patch (RFC 7396) of the job's spec; null for foreign histories."""

    name: str
    reason: str
    patch: dict[str, Any] | None


class FindingView(View):
    """Something that explains the figures, or spoils them, with the numbers behind it."""

    code: str
    severity: Literal["info", "warning", "critical"]
    evidence: dict[str, Any]
    explanation: str
    remedies: list[RemedyView]


class DiagnosisView(View):
    """One verdict: the code of the most serious finding, `healthy`, or `cannot_tell`. Epochs count from 1."""

    object: Literal["diagnosis"]
    verdict: str
    best_epoch: int | None = Field(description="Epoch with the lowest validation loss.")
    onset_epoch: int | None = Field(
        description="First epoch from which validation stays worse than its best by more than noise."
    )
    explanation: str
    findings: list[FindingView]

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> "DiagnosisView":
        """The view of a diagnosis, whether the API or the command line has made it."""
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
                    remedies=[RemedyView(name=r.name, reason=r.reason, patch=r.patch) for r in one.remedies],
                )
                for one in diagnosis.findings
            ],
        )
