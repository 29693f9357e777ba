"""An owner's usage, passed from the store to the views."""

from dataclasses import dataclass
from datetime import datetime

from heldout.access.quotas import Quota
from heldout.work.kinds import JobKind


@dataclass
class Used:
    """The usage of one bucket and group. key_id, kind: None unless grouped by them."""

    start: datetime
    key_id: str | None
    kind: JobKind | None
    jobs: int
    slot_s: float


@dataclass(frozen=True)
class QuotaState:
    """The state of one quota. allowed: None if unlimited."""

    quota: Quota
    used: float
    allowed: int | None
