"""One attempt at a job of any kind: fetch its files, start a process, follow it, and settle the job by its messages."""

import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.errors.missing import Damaged
from heldout.lifecycle.job import FailureCode
from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from heldout.work.kinds import (
    KINDS,
    EvaluateSpec,
    ExportSpec,
    FeaturesSpec,
    HeatmapSpec,
    SuspectSpec,
    WorkerSpec,
    WorkSpec,
)
from heldout.work.memory import MemoryKill
from models.blobs import BlobMissing
from models.store import claims
from models.store.claims import Claimed
from worker.machine.cores import JobCores
from worker.machine.devices import Gpu
from worker.machine.enclosed_process import EnclosedProcess, ProcessDied
from worker.machine.memory import count_memory_kills, read_peak_bytes
from worker.machine.scratch import Scratch
from worker.machine.shares import Shares
from worker.messages import AnyAssignment, AssignedDataset, Failed, FromTraining, StopCause
from worker.supervision.attempt_files import AttemptFiles, CannotBegin, Interrupted, ModelGone
from worker.supervision.lease import AttemptLease
from worker.supervision.processes import SpareProcesses, TrainingProcess

# How often a job of a kind that yields to others checks whether one of them waits.
LOOK_FOR_OTHERS_EVERY_S = 0.5
# How often the peak memory of a process is read. Peaks after the last reading are lost once it is dead.
LOOK_EVERY_S = 0.1


class MemoryWatch:
    """The memory of one attempt's process.

    `begin` before it starts, `look` while it runs, `kill_of` once it is dead.
    """

    def __init__(self, shares: Shares, claimed: Claimed) -> None:
        self._shares = shares
        self._held = claimed.held
        self._reserved_bytes = claimed.needs.memory_bytes or shares.slot_bytes
        self._kills_before = 0
        self._peak_bytes = 0
        self._looked_at = 0.0
        self._is_alone = False

    def begin(self) -> None:
        self._kills_before, self._peak_bytes = count_memory_kills(), 0
        self._is_alone = self._shares.is_alone(self._held)

    def is_within_limit(self, pid: int) -> bool:
        """Return whether the process never had more memory than was reserved."""
        return 0 < read_peak_bytes(pid) <= self._reserved_bytes

    def look(self, pid: int) -> None:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._peak_bytes = max(self._peak_bytes, read_peak_bytes(pid))
            # Not read at the end: the kernel may kill two at once, and the other job may be settled by then.
            self._is_alone = self._shares.is_alone(self._held)

    def kill_of(self, exit_code: int | None) -> MemoryKill | None:
        """Return how the process was killed for memory; None if it ended otherwise."""
        if exit_code != -signal.SIGKILL or count_memory_kills() <= self._kills_before:
            return None
        return MemoryKill(self._peak_bytes, self._reserved_bytes, is_alone=self._is_alone)


def describe_memory(kill: MemoryKill) -> str:
    """Say how much memory the process had, and how much was reserved for it."""
    seen, reserved = (f"{size_bytes / 2**20:,.0f} MiB" for size_bytes in (kill.peak_bytes, kill.reserved_bytes))
    return f"It had {seen} when last seen; {reserved} were reserved for it."


log = structlog.get_logger()

Asked = TypeVar("Asked", bound=WorkSpec)  # the spec of the kind of work
Computed = TypeVar("Computed", bound=JobSpec | FeaturesSpec | SuspectSpec | EvaluateSpec | ExportSpec | HeatmapSpec)


# A process that does the work of an attempt.
Child = TrainingProcess | EnclosedProcess


@dataclass(frozen=True)
class AttemptResources:
    """The resources of a worker that an attempt may use."""

    settings: Settings
    scratch: Scratch
    shares: Shares
    cores: JobCores
    spares: SpareProcesses = field(default_factory=SpareProcesses)
    gpus: Sequence[Gpu] = ()
    has_bfloat16: bool = False


class Attempt(ABC, Generic[Asked]):
    """Runs in one thread of the worker. Everything that it writes names its attempt."""

    # The name of the work for people: `The search for wrong labels`.
    what: str
    # What the owner can do if the work takes too much memory.
    remedy = ""
    # How many cores its process computes on; None runs it in the time that the others leave.
    threads: int | None = None
    # How often it looks whether work that it yields to waits.
    look_for_others_every_s = LOOK_FOR_OTHERS_EVERY_S
    child: Child  # its process, once it has started

    def __init__(self, claimed: Claimed, spec: Asked, lease: AttemptLease, resources: AttemptResources) -> None:
        self.claimed = claimed
        self.spec = spec
        self.lease = lease
        self.resources = resources
        self.settings = resources.settings
        self.shares = resources.shares
        self.files = AttemptFiles(lease, resources.settings)
        self.watch = MemoryWatch(resources.shares, claimed)
        self.folder = Path()  # of this attempt alone
        self.began = time.monotonic()
        self._looked_for_others_at = 0.0

    @abstractmethod
    def start(self, in_use: ExitStack) -> Child:
        """Fetch the process's files and start it. The files stay in use as long as `in_use` is open.

        Raises:
            CannotBegin, ProcessDied, and whatever `AttemptFiles` raises.
        """

    @abstractmethod
    def settle(self, message: Any) -> bool:
        """Act on a message of the process.

        True once that has settled the job. Raises ProcessDied if it is not a message.
        """

    @property
    def written(self) -> Path:
        """The folder of the files that a sandboxed process may write."""
        return self.folder / "written"

    @property
    def is_out_of_time(self) -> bool:
        """Return whether the job has reached its time limit."""
        return isinstance(self.spec, WorkerSpec) and time.monotonic() - self.began >= self.spec.max_runtime_s

    def gives_way(self) -> bool:
        """Return whether other work has priority: the job is then queued again, and no failure is counted."""
        before = KINDS[self.claimed.kind].yields_to
        if not before or time.monotonic() - self._looked_for_others_at < self.look_for_others_every_s:
            return False
        self._looked_for_others_at = time.monotonic()
        return bool(self.lease.read(lambda session: claims.find_waiting_kinds(session, before)))

    def settle_missing(self) -> None:
        """End the job if a file that it needs is not in the blob store."""
        self.lease.fail(FailureCode.DATASET_UNAVAILABLE, "The dataset's images are not in the blob store.")

    def settle_damaged(self, damaged: Damaged) -> None:
        """End the job if a file that it needs is damaged."""
        self.lease.fail(FailureCode(damaged.code), damaged.detail)

    def settle_late(self) -> None:
        """End the job if its time is over."""
        self.lease.fail(FailureCode.DEADLINE, f"{self.what} took longer than it may.")

    def settle_kill(self, kill: MemoryKill) -> None:
        """Fail a job that took more memory than was reserved for it; queue any other again, and count no failure."""
        if kill.is_cause:
            self.lease.fail(FailureCode.OUT_OF_MEMORY, self.describe_cause(kill))
            return
        detail = f"{self.what} was killed because memory ran out, by another job's fault. {describe_memory(kill)}"
        next_bytes = kill.compute_next_reservation(self.shares.total_bytes)
        self.lease.settle(lambda session: claims.give_way(session, self.lease.held, detail, memory_bytes=next_bytes))

    def describe_cause(self, kill: MemoryKill) -> str:
        """Describe to the owner that the job took more memory than was reserved for it."""
        return f"{self.what} was killed because memory ran out. {describe_memory(kill)} {self.remedy}".rstrip()

    def settle_died(self, died: ProcessDied, last_lines: list[str]) -> None:
        """End the job if its process ended without a reason, or sent an invalid message."""
        log.warning("process_died", lines=last_lines)
        self.lease.fail(FailureCode.PROCESS_DIED, str(died))

    def run(self) -> None:
        """Do the work. On return the job is settled, or another worker has it. Never raises."""
        with self.lease as lease, ExitStack() as in_use:
            self.folder = self.resources.scratch.attempt(lease.held.job_id, lease.held.attempt)
            in_use.callback(shutil.rmtree, self.folder, ignore_errors=True)
            try:
                self.work(in_use)
            except Interrupted as interrupted:
                self._stop(interrupted.requested)
            except CannotBegin as missing:
                lease.fail(missing.code, missing.detail)
            except BlobMissing:
                self.settle_missing()
            except Damaged as damaged:
                self.settle_damaged(damaged)
            except StorageUnavailable:
                detail = "The blob store does not answer, or this worker's disk is full."
                lease.fail(FailureCode.STORAGE_UNAVAILABLE, detail)

    def work(self, in_use: ExitStack) -> None:
        """Start a process, and follow it until the job is settled.

        Raises:
            Interrupted, CannotBegin, and whatever `AttemptFiles` raises.
        """
        started = None
        self.watch.begin()
        try:
            started = self.child = self.start(in_use)
            if self.threads is not None:
                self.resources.cores.pin_process(self.child.pid, self.threads)
            while True:
                self.look_after()
                message = self.child.receive(0.1)
                if message is not None and self.settle(message):
                    return
        except ProcessDied as died:
            self._settle_dead(died, [] if started is None else started.last_lines())
        finally:
            if started is not None:
                self.let_go(started)

    def let_go(self, child: Any) -> None:
        """End the process: its job is settled, or belongs to another worker now."""
        child.kill()

    def look_after(self) -> None:
        """Run between two messages of the process. Raises Interrupted if it should stop."""
        self.look_after_pid(self.child.pid, out_of_time=self.is_out_of_time)

    def look_after_pid(self, pid: int, *, out_of_time: bool = False) -> None:
        """Run between two messages of any process. Raises Interrupted if the attempt should stop."""
        self.lease.require()
        requested = self.lease.requested_stop(out_of_time=out_of_time)
        if requested is None and self.gives_way():
            requested = StopCause.RELEASE
        if requested is not None:
            raise Interrupted(requested)
        self.watch.look(pid)

    def _settle_dead(self, died: ProcessDied, last_lines: list[str]) -> None:
        if self.lease.is_lost:
            raise LeaseLost(self.lease.held.job_id, self.lease.held.attempt) from died
        # A signal to our whole group ends the process a moment before we receive it ourselves.
        if self.lease.stopping.wait(0.5):
            self.lease.release()
        elif (kill := self.watch.kill_of(died.exit_code)) is not None:
            self.settle_kill(kill)
        else:
            self.settle_died(died, last_lines)

    def _stop(self, requested: StopCause) -> None:
        if requested is StopCause.RELEASE:
            self.lease.release()
        elif requested is StopCause.DEADLINE:
            self.settle_late()
        else:
            self.lease.stop_as_requested()


class ComputedAttempt(Attempt[Computed]):
    """A process of the training package computes the work; to stop it, it is killed."""

    child: TrainingProcess

    @abstractmethod
    def assignment(self, in_use: ExitStack) -> AnyAssignment:
        """Return the assignment, and fetch its files into `folder`. Raises CannotBegin, and whatever `files` raises."""

    def start(self, in_use: ExitStack) -> TrainingProcess:
        assignment = self.assignment(in_use)
        return self.resources.spares.take(assignment) or TrainingProcess(assignment, self.folder)

    @abstractmethod
    def end(self, message: Any) -> bool:
        """Act on a message of the process other than a failure. True once that has settled the job."""

    def settle(self, message: FromTraining) -> bool:
        if isinstance(message, Failed):
            log.warning("process_failed", code=str(message.code), lines=self.child.last_lines())
            self.lease.fail(message.code, message.detail)
            return True
        return self.end(message)

    def fetch_model(self, job_id: str, key: str, name: str) -> Path:
        """Fetch the model of a training into `folder`, and return its path. Raises ModelGone."""
        file = self.folder / name
        try:
            self.files.fetch(key, file)
        except BlobMissing as missing:
            raise ModelGone(job_id) from missing
        return file

    def dataset(
        self, in_use: ExitStack, *, needs_relations: bool = False, with_names: bool = False, needs_columns: bool = False
    ) -> AssignedDataset:
        """Return the files of the job's dataset. Raises whatever `AttemptFiles` raises."""
        content = self.files.open_dataset(self.claimed.dataset.sha256, in_use.enter_context)
        relations = self.files.fetch_relations(self.claimed, self.folder, needed=needs_relations)
        names = self.files.fetch_names_if_there(self.claimed, self.folder) if with_names else None
        columns = None
        if needs_columns:
            columns = self.files.fetch_columns(self.claimed.dataset.id, self.folder)
        elif with_names:
            columns = self.files.fetch_columns_if_there(self.claimed, self.folder)
        looks = self.files.fetch_looks_if_there(self.claimed.dataset.id, self.folder)
        return AssignedDataset(content, self.claimed.dataset.sha256, relations, names, columns, looks)
