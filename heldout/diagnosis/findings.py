"""What a diagnosis says: findings with the numbers behind them, remedies that can be posted, one verdict."""

from dataclasses import dataclass, field
from typing import Any, Literal

from heldout.diagnosis.gap.budget import Bounds, Gap
from heldout.errors import HeldoutError
from heldout.stored.gap import Calibration
from heldout.verdicts import Effort

Severity = Literal["info", "warning", "critical"]

HEALTHY = "healthy"
CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class SuggestedRemedy:
    """A change that should help. `patch` is a merge patch of the job's spec (RFC 7396); null where no spec is known.

    fix: changes of the dataset (`heldout.fixes.changes.VersionChanges`), where a new version of it would help.
    """

    name: str
    reason: str
    patch: dict[str, Any] | None = None
    fix: dict[str, Any] | None = None


@dataclass(frozen=True)
class Explained:
    """How much of the gap a finding explains: accuracy as a fraction, loss in nats, positive where it widens the gap.

    An interval (95%) is None where there are too few images for one. matters_by_loss: whether the finding surely
    explains some of the loss, and more of it than does not matter.
    """

    accuracy: float
    interval: Bounds | None
    loss: float
    loss_interval: Bounds | None
    matters_by_loss: bool


@dataclass(frozen=True)
class Finding:
    """Something that explains the figures, or spoils them.

    explains: None where that was not measured. confidence: the probability that the finding is true; None where it is
    not calibrated.
    """

    code: str
    severity: Severity
    explanation: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedies: tuple[SuggestedRemedy, ...] = ()
    explains: Explained | None = None
    confidence: float | None = None


Tier = Literal["figures_not_true", "training_broken", "rest_of_gap", "loss_only", "other"]


@dataclass(frozen=True)
class FigureAfter:
    """What a served figure reads now, and what it would read once a cause is fixed, both measured on the same images.

    Those are the images without copies and with pixel values undone, where other causes are fixed first.
    """

    figure: Literal["test_accuracy", "validation_accuracy"]
    now: float
    after: float


@dataclass(frozen=True)
class Cause:
    """A finding that matters, at its place in the order in which to fix things.

    points: by how much it changes a served figure, or what it explains of the gap: accuracy as a fraction, never
        negative; None where that is not known. interval: of 95%; None where there is none.
    loss: what it explains of the loss, in nats.
    effort: the least that it takes to fix it.
    figure_after: what accuracy would read once it is fixed; None where that was not measured.
    """

    code: str
    tier: Tier
    points: float | None
    interval: Bounds | None
    loss: float | None
    loss_interval: Bounds | None
    what_to_do: str
    effort: Effort
    figure_after: FigureAfter | None = None


@dataclass(frozen=True)
class Diagnosis:
    """Epochs count from 1.

    headline, summary: what is wrong, then what it costs and what to do next; `explanation` has the details.
    findings: the verdict's first, then in the order of their gravity.
    causes: the findings that matter, in the order in which to fix them; the first is the verdict.
    caveats: codes of other findings that make figures untrue, whatever the verdict is.
    gap: None where it was not measured, or test is left out.
    confidence: the probability that the verdict is right; None where it is not calibrated.
    calibration: how true the network's probabilities are; None where that was not measured.
    left_out: why stored files that belong to it could not be used.
    """

    verdict: str
    best_epoch: int | None
    onset_epoch: int | None
    explanation: str
    findings: tuple[Finding, ...]
    caveats: tuple[str, ...] = ()
    gap: Gap | None = None
    confidence: float | None = None
    calibration: Calibration | None = None
    left_out: tuple[HeldoutError, ...] = ()
    causes: tuple[Cause, ...] = ()
    headline: str = ""
    summary: str = ""


NOT_STARTED = Diagnosis(
    verdict=CANNOT_TELL,
    best_epoch=None,
    onset_epoch=None,
    explanation="The job is queued, and none of its epochs has run yet.",
    findings=(),
    headline="This job has not started.",
    summary="Nothing has been trained yet, so there is nothing to judge. Look again after a few epochs.",
)
