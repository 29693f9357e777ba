"""What all attempts share but those of a training: one process does the work, and stopping means killing it.

A training (`training_attempt.py`) also reports its progress and stops cleanly, so that the next attempt can resume.
"""

import shutil
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, TypeVar

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.errors.lost import Damaged
from heldout.lifecycle.job import FailureCode
from heldout.service.settings import Settings
from heldout.work.memory import MemoryKill
from models.blobs import BlobMissing
from models.store.claims import Claimed
from worker.machine.cores import JobCores
from worker.machine.memory_budget import MemoryBudget
from worker.machine.scratch import Scratch
from worker.messages import StopCause
from worker.supervision.attempt_files import AttemptFiles, Interrupted
from worker.supervision.lease import AttemptLease
from worker.supervision.memory_watch import MemoryWatch, settle_kill

Asked = TypeVar("Asked")  # the spec of the kind of work


class Attempt(ABC, Generic[Asked]):
    """Runs in one thread of the worker."""

    # What is done, as people read it: `The search for wrong labels`.
    what: str
    # What its owner can do where that takes too much memory.
    remedy = ""

    def __init__(
        self,
        claimed: Claimed,
        spec: Asked,
        lease: AttemptLease,
        *,
        settings: Settings,
        scratch: Scratch,
        memory: MemoryBudget,
        cores: JobCores,
    ) -> None:
        self.claimed = claimed
        self.spec = spec
        self.lease = lease
        self.settings = settings
        self.memory = memory
        self.cores = cores
        self.files = AttemptFiles(lease, settings)
        self.watch = MemoryWatch(memory, claimed)
        self.folder = Path()  # of this attempt alone
        self.began = time.monotonic()
        self._scratch = scratch

    @abstractmethod
    def work(self, in_use: ExitStack) -> None:
        """Do the work and settle the job. What it reads stays in use as long as `in_use` does.

        Raises:
            Interrupted, and what `AttemptFiles` does.
        """

    def gives_way(self) -> bool:
        """Whether something else comes first: the job is queued again, and no failure is counted."""
        return False

    def settle_missing(self) -> None:
        """End the job where a file that it needs is not in the blob store."""
        self.lease.fail(FailureCode.DATASET_UNAVAILABLE, "The dataset is not in the blob store.")

    def settle_damaged(self, damaged: Damaged) -> None:
        """End the job where a file that it needs is damaged."""
        self.lease.fail(FailureCode(damaged.code), damaged.detail)

    def settle_late(self) -> None:
        """End the job where its time is over."""
        self.lease.fail(FailureCode.DEADLINE, f"{self.what} took longer than it may.")

    def settle_kill(self, kill: MemoryKill) -> None:
        """End the job, or queue it again, after the kernel has killed its process because memory ran out."""
        settle_kill(self.lease, kill, self.memory.total_bytes, what=self.what, remedy=self.remedy)

    def run(self) -> None:
        """Do the work. When this returns the job is settled, or another worker has it; it never raises."""
        with self.lease as lease, ExitStack() as in_use:
            self.folder = self._scratch.attempt(lease.held.job_id, lease.held.attempt)
            in_use.callback(shutil.rmtree, self.folder, ignore_errors=True)
            try:
                self.work(in_use)
            except Interrupted as interrupted:
                self._stop(interrupted.requested)
            except BlobMissing:
                self.settle_missing()
            except Damaged as damaged:
                self.settle_damaged(damaged)
            except StorageUnavailable:
                lease.fail(FailureCode.STORAGE_UNAVAILABLE, "The blob store does not answer or is full.")

    def look_after(self, pid: int, *, out_of_time: bool = False) -> None:
        """Between two messages of the process. Raises Interrupted where it is to stop."""
        self.lease.require()
        requested = self.lease.requested_stop(out_of_time=out_of_time)
        if requested is None and self.gives_way():
            requested = StopCause.RELEASE
        if requested is not None:
            raise Interrupted(requested)
        self.watch.look(pid)

    def settle_dead(self, died: Exception, exit_code: int | None) -> None:
        """End the job after its process. exit_code: None where that lives, but says what is not understood."""
        if self.lease.is_lost:
            raise LeaseLost(self.lease.held.job_id, self.lease.held.attempt) from died
        # A signal to our whole group ends the process a moment before we hear of it ourselves.
        if self.lease.stopping.wait(0.5):
            self.lease.release()
        elif exit_code is not None and (kill := self.watch.kill_of(exit_code)) is not None:
            self.settle_kill(kill)
        else:
            self.lease.fail(FailureCode.PROCESS_DIED, str(died))

    def _stop(self, requested: StopCause) -> None:
        if requested is StopCause.RELEASE:
            self.lease.release()
        elif requested is StopCause.DEADLINE:
            self.settle_late()
        else:
            self.lease.stop_as_requested()
