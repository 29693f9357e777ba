"""What a diagnosis says: findings with the numbers behind them, remedies that can be posted, one verdict."""

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]

HEALTHY = "healthy"
CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class Remedy:
    """A change that should help. `patch` is a merge patch of the job's spec (RFC 7396); null where no spec is known."""

    name: str
    reason: str
    patch: dict[str, Any] | None = None


@dataclass(frozen=True)
class Finding:
    """Something that explains the figures, or spoils them."""

    code: str
    severity: Severity
    explanation: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """Epochs count from 1. `findings` are in the order of their gravity."""

    verdict: str
    best_epoch: int | None
    onset_epoch: int | None
    explanation: str
    findings: tuple[Finding, ...]
