"""What a diagnosis says: findings with the numbers behind them, remedies that can be posted, one verdict."""

from dataclasses import dataclass, field
from typing import Any, Literal

from heldout.diagnosis.gap.budget import Bounds, Gap
from heldout.errors import HeldoutError
from heldout.stored.gap import Calibration

Severity = Literal["info", "warning", "critical"]

HEALTHY = "healthy"
CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class Remedy:
    """A change that should help. `patch` is a merge patch of the job's spec (RFC 7396); null where no spec is known.

    mend: changes of the dataset (`heldout.mending.changes.VersionChanges`), where a new version of it would help.
    """

    name: str
    reason: str
    patch: dict[str, Any] | None = None
    mend: dict[str, Any] | None = None


@dataclass(frozen=True)
class Explained:
    """How much of the gap a finding explains: accuracy as a fraction, loss in nats, positive where it widens the gap.

    An interval (95 %) is None where there are too few images for one. matters_by_loss: whether the finding surely
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
    remedies: tuple[Remedy, ...] = ()
    explains: Explained | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """Epochs count from 1.

    findings: the verdict's first, then in the order of their gravity.
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
