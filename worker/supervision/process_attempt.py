"""One attempt at work that a process does in one go: starts it, follows it, settles the job by what it says.

A training is more than that, see `training_attempt.py`: it reports as it goes on, and stops in good order.
"""

import shutil
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.errors.lost import Damaged
from heldout.kinds import EvaluateSpec, ExportSpec, SuspectSpec
from heldout.lifecycle import FailureCode
from heldout.settings import Settings
from models.blobs import BlobMissing
from models.store.claims import Claimed
from worker.machine.cores import JobCores
from worker.machine.memory_budget import MemoryBudget
from worker.machine.scratch import Scratch
from worker.messages import AnyAssignment, Failed, FromTraining, StopCause
from worker.supervision.attempt_files import AttemptFiles, Interrupted
from worker.supervision.lease import AttemptLease
from worker.supervision.memory_watch import MemoryWatch, settle_kill
from worker.supervision.processes import ProcessDied, TrainingProcess

log = structlog.get_logger()

Asked = TypeVar("Asked", bound=SuspectSpec | EvaluateSpec | ExportSpec)


class CannotBegin(Exception):
    """Something is missing without which the process need not be started; another attempt would lack it too."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ModelGone(CannotBegin):
    """A job has no stored model."""

    def __init__(self, job_id: str) -> None:
        super().__init__(FailureCode.MODEL_UNAVAILABLE, f"The model of {job_id} is no longer stored.")


class ProcessAttempt(ABC, Generic[Asked]):
    """Runs in one thread of the worker. To stop it its process is killed; an attempt after it starts anew."""

    # What is done, as people read it: `The search for wrong labels`.
    what: str
    # How many cores the process computes on.
    threads: int

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
        self.files = AttemptFiles(lease, settings)
        self.folder = Path()  # of this attempt alone
        self._scratch = scratch
        self.memory = memory
        self._watch = MemoryWatch(memory, claimed)
        self._cores = cores
        self._began = time.monotonic()

    @abstractmethod
    def assignment(self, dataset: Path) -> AnyAssignment:
        """What the process is to do. Fetches into `folder` what it needs.

        Raises:
            CannotBegin, and what `AttemptFiles` does.
        """

    @abstractmethod
    def settle(self, message: FromTraining) -> bool:
        """End the job by what the process says; False where that is no result."""

    def gives_way(self) -> bool:
        """Whether something else comes first: the job is queued again, and no failure is counted."""
        return False

    def run(self) -> None:
        """Do the work. When this returns the job is settled, or another worker has it; it never raises."""
        with self.lease as lease, ExitStack() as in_use:
            self.folder = self._scratch.attempt(lease.held.job_id, lease.held.attempt)
            in_use.callback(shutil.rmtree, self.folder, ignore_errors=True)
            try:
                dataset = self.files.open_dataset(self.claimed.dataset_sha256, in_use.enter_context)
                assignment = self.assignment(dataset)
                self._watch.begin()
                process = TrainingProcess(assignment, self.folder)
                in_use.callback(process.kill)
                self._follow(process)
            except Interrupted as interrupted:
                self._stop(interrupted.requested)
            except CannotBegin as missing:
                lease.fail(missing.code, missing.detail)
            except ProcessDied as died:
                self._settle_dead(died)
            except BlobMissing:
                lease.fail(FailureCode.DATASET_UNAVAILABLE, "The dataset is not in the blob store.")
            except Damaged as damaged:
                lease.fail(FailureCode(damaged.code), damaged.detail)
            except StorageUnavailable:
                lease.fail(FailureCode.STORAGE_UNAVAILABLE, "The blob store does not answer or is full.")

    def _follow(self, process: TrainingProcess) -> None:
        self._cores.pin_process(process.pid, self.threads)
        while True:
            self.lease.require()
            requested = self.lease.requested_stop(out_of_time=self._runtime_s() >= self.spec.max_runtime_s)
            if requested is None and self.gives_way():
                requested = StopCause.RELEASE
            if requested is not None:
                raise Interrupted(requested)
            self._watch.look(process.pid)
            message = process.receive(0.1)
            if isinstance(message, Failed):
                log.warning("process_failed", code=message.code.value, lines=process.last_lines())
                self.lease.fail(message.code, message.detail)
                return
            if message is not None and self.settle(message):
                return

    def _stop(self, requested: StopCause) -> None:
        if requested is StopCause.RELEASE:
            self.lease.release()
        elif requested is StopCause.DEADLINE:
            self.lease.fail(FailureCode.DEADLINE, f"{self.what} took longer than it may.")
        else:
            self.lease.stop_as_requested()

    def _settle_dead(self, died: ProcessDied) -> None:
        if self.lease.is_lost:
            raise LeaseLost(self.lease.held.job_id, self.lease.held.attempt) from died
        # A signal to our whole group ends the process a moment before we hear of it ourselves.
        if self.lease.stopping.wait(0.5):
            self.lease.release()
        elif (kill := self._watch.kill_of(died.exit_code)) is not None:
            settle_kill(self.lease, kill, self.memory.total_bytes, what=self.what, remedy="")
        else:
            self.lease.fail(FailureCode.PROCESS_DIED, str(died))

    def _runtime_s(self) -> float:
        """Of this attempt: it begins anew."""
        return time.monotonic() - self._began
