"""One attempt at finding the copies and groups of a stored dataset: starts its process, stores what it found."""

import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import structlog

from heldout.dataset_lifecycle import RejectionCode
from heldout.errors import StorageUnavailable
from heldout.errors.lost import Damaged
from heldout.kinds import RelateSpec
from heldout.lifecycle import FailureCode, JobStatus
from heldout.settings import Settings
from models.blobs import BlobMissing
from models.relations import FILE_NAME, relations_key
from models.store import relations
from models.store.claims import Claimed
from worker.ingest.limits import Limits
from worker.ingest.process.messages import Related
from worker.ingest.process.parent import RelateProcess
from worker.ingest.rejection import Rejection
from worker.machine.memory_budget import MemoryBudget
from worker.machine.scratch import Scratch
from worker.supervision.attempt_files import AttemptFiles, Interrupted
from worker.supervision.lease import AttemptLease
from worker.supervision.memory_watch import MemoryWatch, settle_kill

log = structlog.get_logger()


class RelateAttempt:
    """Runs in one thread of the worker, as a training's attempt does. The dataset is in use meanwhile."""

    def __init__(
        self,
        claimed: Claimed,
        spec: RelateSpec,
        lease: AttemptLease,
        *,
        settings: Settings,
        scratch: Scratch,
        memory: MemoryBudget,
    ) -> None:
        self._claimed = claimed
        self._spec = spec
        self._lease = lease
        self._settings = settings
        self._scratch = scratch
        self._memory = memory
        self._watch = MemoryWatch(memory, claimed)
        self._files = AttemptFiles(lease, settings)
        self._folder = Path()

    def run(self) -> None:
        """Find the copies. When this returns the job is settled, or another worker has it; it never raises."""
        with self._lease as lease, ExitStack() as in_use:
            self._folder = self._scratch.attempt(lease.held.job_id, lease.held.attempt)
            in_use.callback(shutil.rmtree, self._folder, ignore_errors=True)
            try:
                self._relate(self._files.open_dataset(self._claimed.dataset_sha256, in_use.enter_context))
            except Interrupted as interrupted:
                self._stop(interrupted)
            except BlobMissing:
                lease.fail(FailureCode.DATASET_UNAVAILABLE, "The dataset is not in the blob store.")
            except Rejection as rejection:
                crashed = rejection.code is RejectionCode.CRASHED
                kill = self._watch.kill_of(-signal.SIGKILL) if crashed else None
                if kill is not None:
                    settle_kill(lease, kill, self._memory.total_bytes, what="The search for copies", remedy="")
                else:
                    lease.fail(rejection.code, rejection.detail)
            except Damaged as damaged:
                lease.fail(FailureCode(damaged.code), damaged.detail)
            except StorageUnavailable:
                lease.fail(RejectionCode.STORAGE_UNAVAILABLE, "The blob store does not answer or is full.")

    def _relate(self, content: Path) -> None:
        target = self._folder / "relations"
        limits = Limits(normalised_bytes=self._settings.max_normalised_bytes, wall_s=int(self._spec.max_runtime_s))
        self._watch.begin()
        # Names are needed for groups alone.
        group_by, dataset_id = self._spec.group_by, self._claimed.dataset_id
        names = None if group_by is None else self._files.fetch_names(dataset_id, self._folder)
        with RelateProcess(content, target, limits, names=names, group_by=group_by) as process:
            try:
                related = self._followed(process)
            except Rejection as rejection:
                log.warning("copies_not_found", code=rejection.code.value, lines=process.last_lines())
                raise
        self._lease.require()
        files = self._files.store({relations_key(dataset_id): target / FILE_NAME})
        status = self._lease.settle(
            lambda session: relations.mark_stored(session, self._lease.held, dataset_id, related.digests, files)
        )
        if status is JobStatus.SUCCEEDED:
            log.info("relations_stored", dataset_id=dataset_id)

    def _followed(self, process: RelateProcess) -> Related:
        """What the process found. Raises Interrupted, Rejection."""
        while True:
            self._lease.require()
            requested = self._lease.requested_stop(out_of_time=False)  # the process has a limit of its own
            if requested is not None:
                raise Interrupted(requested)
            self._watch.look(process.pid)
            message = process.receive(0.1)
            if isinstance(message, Related):
                return message

    def _stop(self, interrupted: Interrupted) -> None:
        if interrupted.requested == "release":
            self._lease.release()
        else:
            self._lease.stop_as_requested()
