"""One attempt at finding the wrong labels of a dataset: starts its process, follows it, stores what it found."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import structlog

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.kinds import SuspectSpec
from heldout.lifecycle import FailureCode
from heldout.settings import Settings
from heldout.stored.suspects import suspects_key
from models.blobs import BlobMissing
from models.file_names import MEMBERS_FILE
from models.relations import FILE_NAME, relations_key
from models.store import suspects
from models.store.claims import Claimed
from worker.machine.cores import JobCores
from worker.machine.scratch import Scratch
from worker.messages import Failed, StopCause, SuspectAssignment, SuspectsFound
from worker.supervision.attempt_files import AttemptFiles, Interrupted
from worker.supervision.lease import AttemptLease
from worker.supervision.processes import ProcessDied, TrainingProcess

log = structlog.get_logger()

# At most so many of its networks are trained at a time, however many cores there are.
THREADS = 2


class SuspectAttempt:
    """Runs in one thread of the worker, as a training's attempt does. An attempt after it starts anew."""

    def __init__(
        self,
        claimed: Claimed,
        spec: SuspectSpec,
        lease: AttemptLease,
        *,
        settings: Settings,
        scratch: Scratch,
        cores: JobCores,
    ) -> None:
        self._claimed = claimed
        self._spec = spec
        self._lease = lease
        self._scratch = scratch
        self._cores = cores
        self._files = AttemptFiles(lease, settings)
        self._folder = Path()
        self._began = time.monotonic()

    def run(self) -> None:
        """Find the wrong labels. When this returns the job is settled, or another worker has it; it never raises."""
        with self._lease as lease, ExitStack() as in_use:
            self._folder = self._scratch.attempt(lease.held.job_id, lease.held.attempt)
            in_use.callback(shutil.rmtree, self._folder, ignore_errors=True)
            try:
                dataset = self._files.open_dataset(self._claimed.dataset_sha256, in_use.enter_context)
                process = TrainingProcess(self._assignment(dataset), self._folder)
                in_use.callback(process.kill)
                self._follow(process)
            except Interrupted as interrupted:
                self._stop(interrupted.requested)
            except ProcessDied as died:
                self._settle_dead(died)
            except BlobMissing:
                lease.fail(FailureCode.DATASET_UNAVAILABLE, "The dataset is not in the blob store.")
            except StorageUnavailable:
                lease.fail(FailureCode.STORAGE_UNAVAILABLE, "The blob store does not answer or is full.")

    def _assignment(self, dataset: Path) -> SuspectAssignment:
        dataset_id = self._claimed.dataset_id
        # Without them the search goes on as well: copies are then not kept together, or the images have no names.
        relations, names = self._folder / FILE_NAME, self._folder / MEMBERS_FILE
        has_relations = self._files.fetch_if_there(relations_key(dataset_id), relations)
        has_names = self._files.fetch_if_there(f"datasets/{dataset_id}/{MEMBERS_FILE}", names)
        return SuspectAssignment(
            dataset=str(dataset),
            scratch=str(self._folder),
            relations=str(relations) if has_relations else None,
            names=str(names) if has_names else None,
            seed=self._spec.seed,
            threads=THREADS,
        )

    def _follow(self, process: TrainingProcess) -> None:
        self._cores.pin_process(process.pid, THREADS)
        while True:
            self._lease.require()
            requested = self._lease.requested_stop(out_of_time=self._runtime_s() >= self._spec.max_runtime_s)
            if requested is not None:
                raise Interrupted(requested)
            match process.receive(0.1):
                case SuspectsFound(file=file):
                    self._store(Path(file))
                    return
                case Failed(code=code, detail=detail):
                    log.warning("suspects_not_found", code=code.value, lines=process.last_lines())
                    self._lease.fail(code, detail)
                    return

    def _store(self, file: Path) -> None:
        dataset_id = self._claimed.dataset_id
        self._lease.require()
        self._lease.blobs.put(suspects_key(dataset_id), file)
        self._lease.settle(lambda session: suspects.mark_stored(session, self._lease.held, dataset_id))

    def _stop(self, requested: StopCause) -> None:
        if requested is StopCause.RELEASE:
            self._lease.release()
        elif requested is StopCause.DEADLINE:
            self._lease.fail(FailureCode.DEADLINE, "The search for wrong labels took longer than it may.")
        else:
            self._lease.stop_as_requested()

    def _settle_dead(self, died: ProcessDied) -> None:
        if self._lease.is_lost:
            raise LeaseLost(self._lease.held.job_id, self._lease.held.attempt) from died
        # A signal to our whole group ends the process a moment before we hear of it ourselves.
        if self._lease.stopping.wait(0.5):
            self._lease.release()
        else:
            self._lease.fail(FailureCode.PROCESS_DIED, str(died))

    def _runtime_s(self) -> float:
        """Of this attempt: it begins anew."""
        return time.monotonic() - self._began
