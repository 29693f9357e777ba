"""One attempt at reading an uploaded model: fetches its file, follows the bounded process, settles the job.

To stop it, its process is killed; an attempt after it starts anew.
"""

import shutil
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.errors.lost import Damaged
from heldout.lifecycle import FailureCode
from heldout.memory import MemoryKill
from heldout.settings import Settings
from models.blobs import BlobMissing
from models.store.claims import Claimed
from worker.machine.bounds import GIB
from worker.machine.cores import JobCores
from worker.machine.memory_budget import MemoryBudget
from worker.machine.scratch import Scratch
from worker.messages import StopCause
from worker.supervision.attempt_files import AttemptFiles, Interrupted
from worker.supervision.foreign_process import ForeignProcess, ForeignProcessDied
from worker.supervision.lease import AttemptLease
from worker.supervision.memory_watch import MemoryWatch, settle_kill

log = structlog.get_logger()

# Of TensorFlow, Keras and onnxruntime themselves.
_PROGRAMS_BYTES = 3 * GIB
# Times the file's size: as it is read, as its weights, and as what is computed with them.
_COPIES = 6


class ForeignAttempt(ABC):
    """Runs in one thread of the worker."""

    # What is done, as people read it: `Measuring the model`.
    what: str
    # What its owner can do where that takes too much memory.
    remedy: str

    def __init__(
        self,
        claimed: Claimed,
        lease: AttemptLease,
        *,
        key: str,
        max_runtime_s: float,
        settings: Settings,
        scratch: Scratch,
        memory: MemoryBudget,
        cores: JobCores,
    ) -> None:
        self.claimed = claimed
        self.lease = lease
        self.settings = settings
        self.files = AttemptFiles(lease, settings)
        self.folder = Path()  # of this attempt alone
        self.written = Path()  # what the process may write
        self.max_runtime_s = max_runtime_s
        self._key = key
        self._scratch = scratch
        self.memory = memory
        self._watch = MemoryWatch(memory, claimed)
        self._cores = cores

    @abstractmethod
    def start(self, model: Path, memory_bytes: int, in_use: ExitStack) -> ForeignProcess:
        """Start the process on the model's file.

        Args:
            memory_bytes: that it may have for the model and the programs that read it.
            in_use: keeps what the process reads.
        Raises:
            What `AttemptFiles` does.
        """

    @abstractmethod
    def settle(self, kind: str, content: Any) -> None:
        """End the job by the answer of the process. Raises ValueError where that is none."""

    @abstractmethod
    def settle_missing(self) -> None:
        """End the job where the model's file, or the dataset, is not in the blob store."""

    @abstractmethod
    def settle_late(self) -> None:
        """End the job where its time is over."""

    def run(self) -> None:
        """Do the work. When this returns the job is settled, or another worker has it; it never raises."""
        with self.lease as lease, ExitStack() as in_use:
            self.folder = self._scratch.attempt(lease.held.job_id, lease.held.attempt)
            self.written = self.folder / "written"
            in_use.callback(shutil.rmtree, self.folder, ignore_errors=True)
            try:
                model = self.folder / "file.keras"
                self.files.fetch(self._key, model)
                memory_bytes = _PROGRAMS_BYTES + _COPIES * model.stat().st_size
                self._watch.begin()
                with self.start(model, memory_bytes, in_use) as process:
                    self._follow(process)
            except Interrupted as interrupted:
                self._stop(interrupted.requested)
            except BlobMissing:
                self.settle_missing()
            except Damaged as damaged:
                lease.fail(FailureCode(damaged.code), damaged.detail)
            except StorageUnavailable:
                lease.fail(FailureCode.STORAGE_UNAVAILABLE, "The blob store does not answer or is full.")

    def _follow(self, process: ForeignProcess) -> None:
        self._cores.pin_process(process.pid, 1)
        ends_at = time.monotonic() + self.max_runtime_s
        while True:
            self.lease.require()
            requested = self.lease.requested_stop(out_of_time=time.monotonic() >= ends_at)
            if requested is not None:
                raise Interrupted(requested)
            self._watch.look(process.pid)
            try:
                answer = process.receive(0.1)
                if answer is None:
                    continue
                [(kind, content)] = answer.items()
                if kind == "internal":
                    log.warning("model_process_failed", error=str(content)[:80], lines=process.last_lines())
                    self.lease.fail(FailureCode.INTERNAL, "Reading the model broke on our side.")
                    return
                self.settle(kind, content)
            except (ForeignProcessDied, ValueError) as died:
                self._settle_dead(died, process)
            return

    def _settle_dead(self, died: Exception, process: ForeignProcess) -> None:
        log.warning("model_process_died", lines=process.last_lines())
        if self.lease.is_lost:
            raise LeaseLost(self.lease.held.job_id, self.lease.held.attempt) from died
        # A signal to our whole group ends the process a moment before we hear of it ourselves.
        if self.lease.stopping.wait(0.5):
            self.lease.release()
        elif not isinstance(died, ForeignProcessDied):
            detail = "The process that read the model said what is not understood."
            self.lease.fail(FailureCode.PROCESS_DIED, detail)
        elif (kill := self._watch.kill_of(died.exit_code)) is not None:
            self.settle_kill(kill)
        else:
            self.lease.fail(FailureCode.PROCESS_DIED, str(died))

    def settle_kill(self, kill: MemoryKill) -> None:
        """End the job, or queue it again, after the kernel has killed its process because memory ran out."""
        settle_kill(self.lease, kill, self.memory.total_bytes, what=self.what, remedy=self.remedy)

    def _stop(self, requested: StopCause) -> None:
        if requested is StopCause.RELEASE:
            self.lease.release()
        elif requested is StopCause.DEADLINE:
            self.settle_late()
        else:
            self.lease.stop_as_requested()
