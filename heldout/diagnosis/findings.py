"""The parts of a diagnosis: findings with their evidence, remedies that can be posted, and one verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from heldout.diagnosis.bounds import Bounds
from heldout.diagnosis.gap import Gap
from heldout.diagnosis.key_figures import KeyFigure
from heldout.errors import HeldoutError
from heldout.proofs.outcomes import Tried
from heldout.stored.evaluation import StoredColumn
from heldout.stored.gap import Calibration
from heldout.verdicts import Effort
from heldout.words import whole_percents

Severity = Literal["info", "warning", "critical"]

HEALTHY = "healthy"
CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class SuggestedRemedy:
    """A change that should help. `patch` is a merge patch of the job's spec (RFC 7396), or null without a spec.

    fix: changes to the dataset (`heldout.fixes.changes.VersionChanges`), if a new version of it would help.
    """

    name: str
    reason: str
    patch: dict[str, Any] | None = None
    fix: dict[str, Any] | None = None


@dataclass(frozen=True)
class Explained:
    """How much of the gap a finding explains: accuracy as a fraction, loss in nats; positive if it widens the gap.

    An interval (95%) is None if there are too few images for one. matters_by_loss: whether the finding clearly explains
    some of the loss, and enough of it to matter.
    """

    accuracy: float
    interval: Bounds | None
    loss: float
    loss_interval: Bounds | None
    matters_by_loss: bool


@dataclass(frozen=True)
class Finding:
    """Something that explains the figures or distorts them.

    explains: None if not measured. confidence: the probability that the finding is true; None if not calibrated.
    """

    code: str
    severity: Severity
    explanation: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedies: tuple[SuggestedRemedy, ...] = ()
    explains: Explained | None = None
    confidence: float | None = None

    @property
    def fix(self) -> dict[str, Any] | None:
        """The first change of the dataset that fixes it; None if there is none."""
        return next((remedy.fix for remedy in self.remedies if remedy.fix is not None), None)

    @property
    def offers_pretrained(self) -> bool:
        """Whether a network that has learned from photographs is among its remedies."""
        return any(remedy.name == "pretrained" for remedy in self.remedies)

    @property
    def may_be_chance(self) -> bool:
        """Whether few classes, or few groups of images, would look the same without this fault."""
        return "chance_of_renaming" in self.evidence

    @property
    def is_shift_by_nature(self) -> bool:
        """Whether it says that splits differ in a way that no change of their pixels undoes."""
        is_serious = self.code == "split_shift" and self.severity != "info"
        return is_serious and "undone" not in self.evidence and "pixel_values" not in (self.fix or {})


Tier = Literal["figures_not_true", "training_broken", "rest_of_gap", "loss_only", "other"]


@dataclass(frozen=True)
class FigureAfter:
    """A served figure now and once a cause is fixed, both measured on the same images.

    If other causes are fixed first, these are the images without copies and with pixel values undone.
    """

    figure: Literal["test_accuracy", "validation_accuracy"]
    now: float
    after: float

    @property
    def explanation(self) -> str:
        after, now = whole_percents(self.after, self.now)
        return f"{self.figure.replace('_', ' ').capitalize()} would read {after} instead of {now}."


@dataclass(frozen=True)
class Cause:
    """A finding that matters, in the order in which to fix things.

    points: how much it changes a served figure, or how much of the gap it explains. Accuracy as a fraction, never
        negative; None if unknown.
    interval: of 95%; None if unknown.
    loss: how much of the loss it explains, in nats.
    effort: the least effort that fixes it.
    figure_after: the accuracy to expect once it is fixed; None if not measured.
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
    """A verdict with its evidence. Epochs count from 1.

    headline, summary: what is wrong, then what it costs and what to do next; `explanation` has the details.
    findings: the verdict's own first, then the most serious first.
    causes: the findings that matter, in the order in which to fix them; the first is the verdict.
    caveats: codes of other findings that make figures misleading, whatever the verdict is.
    gap: None if it was not measured, or if test is left out.
    confidence: the probability that the verdict is right; None if not calibrated.
    calibration: how well the network's probabilities match reality; None if not measured.
    left_out: why stored files that belong to the job could not be used.
    figures: accuracy on each split, the gap and the weakest class; empty if no accuracy is known.
    is_proven: whether experiments prove the verdict. tried: the experiments, in order.
    groups: results for the values of each column, by held-out split.
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
    figures: tuple[KeyFigure, ...] = ()
    is_proven: bool = False
    tried: tuple[Tried, ...] = ()
    groups: Mapping[str, tuple[StoredColumn, ...]] = field(default_factory=dict)


NOT_STARTED = Diagnosis(
    verdict=CANNOT_TELL,
    best_epoch=None,
    onset_epoch=None,
    explanation="The job is queued, and none of its epochs has run yet.",
    findings=(),
    headline="This job has not started.",
    summary="Nothing has been trained yet, so there is nothing to judge. Look again after a few epochs.",
)
