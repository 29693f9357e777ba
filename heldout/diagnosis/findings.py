"""What a diagnosis says: findings with the numbers behind them, remedies that can be posted, one verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]

# Every code, the one nearest the data first: of findings that are equally grave it gives the verdict.
CODES = (
    "leakage",
    "split_shift",
    "scale_mismatch",
    "label_order_mismatch",
    "label_conflicts",
    "label_noise",
    "memorised_noise",
    "class_imbalance",
    "collapsed_class",
    "diverged",
    "overfitting",
    "underfitting",
    "not_converged",
    "test_too_small",
    "metric_artefact",
)
HEALTHY, CANNOT_TELL = "healthy", "cannot_tell"
_GRAVITY: Mapping[str, int] = {"critical": 0, "warning": 1, "info": 2}


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

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"{self.code!r} is no code of a finding")


@dataclass(frozen=True)
class Diagnosis:
    """Epochs count from 1. `findings` are in the order of their gravity."""

    verdict: str
    best_epoch: int | None
    onset_epoch: int | None
    explanation: str
    findings: tuple[Finding, ...]


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The gravest first; of equally grave ones the one nearest the data."""
    return tuple(sorted(findings, key=lambda one: (_GRAVITY[one.severity], CODES.index(one.code))))


def counted(count: int, thing: str) -> str:
    """`1 epoch`, `1,200 epochs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
