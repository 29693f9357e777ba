"""What is told of an owner's usage, between the store and the views."""

from dataclasses import dataclass
from datetime import datetime

from heldout.access.quotas import Quota
from heldout.work.kinds import JobKind


@dataclass
class Used:
    """What the jobs of one bucket and one group have used. key_id and kind: null where they are not told apart."""

    start: datetime
    key_id: str | None
    kind: JobKind | None
    jobs: int
    slot_s: float


@dataclass(frozen=True)
class QuotaState:
    """allowed: None where there is no bound."""

    quota: Quota
    used: float
    allowed: int | None
