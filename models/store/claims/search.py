"""One worker's look for its next job, in one transaction: executes what `finding.py` has built."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from analysis.scheduling.fair_share import Standing
from heldout.lifecycle.dataset import RelationsStatus
from heldout.work.kinds import KINDS_IN_SLOTS, SPEC_VERSION, JobKind
from models.store.claims.finding import finding_of
from models.tables import JobRow


@dataclass(frozen=True)
class Capacity:
    """What a worker can run now. What only a newer release knows is left to that release's workers.

    devices: values of a job's `device` that it can serve. memory_bytes: that it has free; None: it does not count.
    """

    devices: Collection[str]
    gpus: int = 1
    kinds: Collection[JobKind] = KINDS_IN_SLOTS
    memory_bytes: int | None = None


@dataclass(frozen=True)
class NextOwner:
    """An owner as it stands at the moment `at`, by the database's clock."""

    name: str
    quotas: Mapping[str, Any] | None
    standing: Standing
    at: datetime


@dataclass(frozen=True)
class FoundJob:
    """A job that can be claimed, as its row was read, and what a worker needs to know of its dataset."""

    row: JobRow
    dataset_sha256: str | None
    relations_status: RelationsStatus | None


class Search:
    """Looks for what a worker can run now, in one transaction."""

    def __init__(self, session: Session, free: Capacity) -> None:
        self._session = session
        counts_memory = free.memory_bytes is not None
        self._finding = finding_of(tuple(free.kinds), tuple(free.devices), counts_memory=counts_memory)
        self._values = {"gpus": free.gpus, "spec_version": SPEC_VERSION}
        if free.memory_bytes is not None:
            self._values["free_bytes"] = free.memory_bytes

    def may_find(self) -> bool:
        """Whether a job of these kinds and devices waits that needs no more memory than is free."""
        least_bytes = self._session.scalar(self._finding.least_bytes)
        return least_bytes is not None and least_bytes <= self._values.get("free_bytes", least_bytes)

    def next_to_claim(self, passed_over: Collection[str]) -> tuple[NextOwner, FoundJob | None] | None:
        """The owner whose turn it is, and its best job, locked: None in its place as for `first_job`."""
        if not passed_over:
            # Nearly always this one statement is all; it says of no owner that others hold its jobs.
            found = self._session.execute(self._finding.next_to_claim, self._values).one_or_none()
            if found is not None:
                return _owner_of(*found[3:]), FoundJob(*found[:3])
        owner = self.next_owner(passed_over)
        return None if owner is None else (owner, self.first_job(owner))

    def next_owner(self, passed_over: Collection[str]) -> NextOwner | None:
        """The owner whose turn it is among those of whom a job can be claimed."""
        if passed_over:
            values = {**self._values, "passed_over": list(passed_over)}
            row = self._session.execute(self._finding.owner_after, values).one_or_none()
        else:
            row = self._session.execute(self._finding.first_owner, self._values).one_or_none()
        if row is None:
            return None
        return _owner_of(*row)

    def first_job(self, owner: NextOwner, *, lock: bool = True) -> FoundJob | None:
        """The owner's best job, locked; None if others have claimed those that wait a moment ago."""
        query = self._finding.first_job_to_claim if lock else self._finding.first_job
        found = self._session.execute(query, {**self._values, "owner": owner.name}).one_or_none()
        return None if found is None else FoundJob(*found)


def _owner_of(
    name: str, quotas: Mapping[str, Any] | None, weight: float, used_slot_s: float, used_at_s: float, at: datetime
) -> NextOwner:
    return NextOwner(name, quotas, Standing(weight, used_slot_s, used_at_s), at)
