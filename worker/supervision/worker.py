"""One worker: claims jobs, runs each in a separate process, stores the results, and settles the job."""

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from heldout.errors import DatabaseUnavailable, OperatorError
from heldout.lifecycle.resources import DatasetStatus
from heldout.parent_process import build_launch_command
from heldout.service.database_urls import get_sqlite_file
from heldout.service.settings import Settings
from heldout.work.kinds import (
    CHECKS_IN_SLOTS,
    CHECKS_QUICK_IF_SMALL,
    KINDS_BESIDE_SLOTS,
    KINDS_IN_SLOTS,
    KINDS_OF_WORKERS,
    JobKind,
    leave_out_yielding,
    list_kinds_before,
    require_all_kinds,
)
from heldout.work.memory import QUICK_BYTES, WorkerMemory
from models.blobs import Blobs
from models.database import Database
from models.disk_metrics import DiskMetrics
from models.migrations import require_newest
from models.reconcile import Announce, Reconciler
from models.store import claims, datasets, workers
from models.store.claims import Capacity, Claimed
from worker.machine.cores import Cores, JobCores
from worker.machine.devices import (
    choose_gpus,
    choose_slots,
    find_gpus,
    get_host_name,
    get_processor,
    has_bfloat16_units,
    list_claimable_devices,
)
from worker.machine.enclosure import keep_capabilities_to_itself
from worker.machine.memory import get_memory_bytes
from worker.machine.scratch import Scratch
from worker.machine.shares import RoomForLargeJob, Share, Shares
from worker.supervision import metrics, processes
from worker.supervision.attempt import Attempt, AttemptResources
from worker.supervision.computed_attempts import (
    EvaluateAttempt,
    ExportAttempt,
    FeaturesAttempt,
    HeatmapAttempt,
    SuspectAttempt,
)
from worker.supervision.experiment_attempts import ExperimentAttempt, IdleExperimentAttempt
from worker.supervision.ingest_attempts import IngestAttempt, RelateAttempt
from worker.supervision.lease import AttemptLease
from worker.supervision.threads import Calibrator, LeaseKeeper, prove_while_idle, report_gpus
from worker.supervision.training_attempt import TrainingAttempt
from worker.supervision.uploaded_model_attempts import CheckModelAttempt, MeasureAttempt

ATTEMPTS: Mapping[JobKind, type[Attempt[Any]]] = require_all_kinds(
    {
        JobKind.TRAIN: TrainingAttempt,
        JobKind.INGEST: IngestAttempt,
        JobKind.DERIVE: IngestAttempt,
        JobKind.RELATE: RelateAttempt,
        JobKind.FEATURES: FeaturesAttempt,
        JobKind.SUSPECT: SuspectAttempt,
        JobKind.EVALUATE: EvaluateAttempt,
        JobKind.EXPORT: ExportAttempt,
        JobKind.HEATMAP: HeatmapAttempt,
        JobKind.CHECK_MODEL: CheckModelAttempt,
        JobKind.MEASURE: MeasureAttempt,
        JobKind.EXPERIMENT: ExperimentAttempt,
        JobKind.IDLE_EXPERIMENT: IdleExperimentAttempt,
    },
    KINDS_OF_WORKERS,
)


log = structlog.get_logger()

REPORT_MEMORY_EVERY_S = 3600.0
DOWNLOAD_TIMEOUT_S = 1800
# No one waits for jobs without a slot, so the worker looks for them less often.
BESIDE_POLL_INTERVAL_S = 5.0
# How often it looks for small checks, but only while no slot would take them.
QUICK_POLL_INTERVAL_S = 1.0


class Worker:
    """The worker that both drivers share. A driver calls `claim` and `run` from one thread per slot."""

    def __init__(self, settings: Settings, *, announce: Announce | None = None) -> None:
        self.settings = settings
        self.name = f"{settings.worker_name or get_host_name()}:{os.getpid()}:{secrets.token_hex(3)}"
        self.database = Database(settings.database, announce, settings.quotas)
        self.blobs = Blobs(settings.blobs_url)
        gpus = find_gpus()
        self._reported_at: float | None = None
        self.slots = choose_slots(settings.slots, len(gpus), settings.worker_slots)
        self.shares = Shares(int(settings.worker_memory_share * get_memory_bytes()), self.slots, gpus)
        self._room = RoomForLargeJob(self.database, self.name, self.shares)
        self.cores = Cores()
        self._spares = processes.SpareProcesses()
        self.has_bfloat16 = has_bfloat16_units(get_processor())
        self.scratch = Scratch(settings.home_path / "scratch")
        self.keeper = LeaseKeeper(self.database, settings, self.name, self.scratch.sign_of_life)
        self.stopping = threading.Event()
        self._reconciler = Reconciler(self.database, settings, announce, self.blobs)
        self._calibrator = Calibrator(self.database, self.cores, self.stopping, has_bfloat16=self.has_bfloat16)
        given = self.database, len(gpus), self.stopping
        self._reporter = threading.Thread(target=report_gpus, args=given, name="gpu presence", daemon=True)
        idle = self.database, self.blobs, settings, self.cores, self.stopping
        self._prover = threading.Thread(target=prove_while_idle, args=idle, name="proofs", daemon=True)
        self._beside = [
            threading.Thread(target=self._run_beside_slots, args=asked, name="beside-slots", daemon=True)
            for asked in (
                (self._claim_beside, BESIDE_POLL_INTERVAL_S, 0),
                (self._claim_quick_check, QUICK_POLL_INTERVAL_S, 1),
            )
        ]
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Import TensorFlow in the fork server, then start keeping leases and reconciling.

        Raises:
            OperatorError: if the database has the revision of another release, or its file is the blob store, too.
        """
        if get_sqlite_file(self.settings.blobs_url) is not None:
            raise OperatorError(
                "HELDOUT_BLOBS names a SQLite file, which is for services without workers (`heldout cure --embedded`). "
                "Set it to file:///FOLDER or s3://BUCKET/PREFIX, as for the API."
            )
        require_newest(self.database)
        keep_capabilities_to_itself()
        self._reporter.start()
        metrics.serve(self.settings.metrics_port, self.slots, DiskMetrics(self.settings.home_path, self.blobs))
        processes.warm_up(self.scratch.socket_folder)
        self.keeper.start()
        self._reconciler.start()
        for thread in self._beside:
            thread.start()
        if self.settings.calibrate:
            self._calibrator.start()
        if self.settings.prove_idle_s:
            self._prover.start()
        if self.settings.fetch:
            threading.Thread(target=fetch_missing, args=(self.settings, self.database), daemon=True).start()
        log.info("worker_ready", worker=self.name, slots=self.slots, gpus=len(self.shares.gpus))

    def claim(self) -> Claimed | None:
        """Claim the best job that waits for a slot; None if none fits, or the database does not answer."""
        with self._claiming():
            self._report_memory()
            kinds = self.shares.kinds
            left = self._room.compute_left(kinds)
            if left is None:
                return None
            claimed = self._take_check_of_others(left.memory_bytes) if kinds is KINDS_IN_SLOTS else None
            if claimed is None:
                with self.database.read() as session:
                    # They may wait for resources that this worker does not have.
                    waiting = claims.find_waiting_kinds(session, list_kinds_before(kinds))
                kinds = leave_out_yielding(kinds, waiting)
                claimed = self._take(Capacity(list_claimable_devices(left.gpus), left.gpus, kinds, left.memory_bytes))
            if claimed is not None:
                self._room.look_again()
            return claimed
        return None

    def _take_check_of_others(self, memory_bytes: int, *, in_slot: bool = True) -> Claimed | None:
        """Claim a check of an owner who has had no place of checks in this round."""
        if not self.shares.served:
            return None
        free = Capacity(("cpu",), 0, CHECKS_QUICK_IF_SMALL, memory_bytes, self.shares.served)
        claimed = self._take(free, in_slot=in_slot)
        if claimed is None:
            self.shares.begin_round()
        return claimed

    def _claim_beside(self) -> Claimed | None:
        """Claim the best job that needs no slot."""
        with self._claiming():
            left = self._room.compute_left_now()
            return None if left is None else self._take_beside(KINDS_BESIDE_SLOTS, left.memory_bytes)
        return None

    def _claim_quick_check(self) -> Claimed | None:
        """Claim a small check that would wait for a slot, perhaps for as long as a training takes."""
        if self.shares.takes_checks:
            return None
        with self._claiming():
            left = self._room.compute_left_now()
            if left is not None:
                memory_bytes = min(left.memory_bytes, QUICK_BYTES)
                claimed = self._take_check_of_others(memory_bytes, in_slot=False)
                return claimed or self._take_beside(CHECKS_QUICK_IF_SMALL, memory_bytes)
        return None

    def _take_beside(self, kinds: tuple[JobKind, ...], memory_bytes: int) -> Claimed | None:
        return self._take(Capacity(("cpu",), 0, kinds, memory_bytes), in_slot=False)

    @contextmanager
    def _claiming(self) -> Iterator[None]:
        """Prevent other threads of the worker from claiming while the block runs.

        Ends if the database does not answer.
        """
        try:
            with self._one_at_a_time:
                yield
        except DatabaseUnavailable:
            log.warning("database_unavailable", worker=self.name)

    def _take(self, free: Capacity, *, in_slot: bool = True) -> Claimed | None:
        """Claim the best job that fits; the write lock is only taken if there is one."""
        with self.database.read() as session:
            if not claims.is_any_claimable(session, free):
                return None
        with self.database.write() as session:
            claimed = claims.claim(session, self.name, free, self.settings.lease_s)
        if claimed is not None:
            needs, gpus = claimed.needs, self.shares.free_gpus[: free.gpus]
            given = choose_gpus(needs.device, needs.gpus, gpus)
            check_of = claimed.owner if claimed.kind in CHECKS_IN_SLOTS else None
            self.shares.take(claimed.held, Share(needs.memory_bytes or 0, given, check_of, in_slot))
        return claimed

    def _report_memory(self) -> None:
        """Report this worker's memory regularly, so that a job that fits no worker is refused when submitted."""
        now = time.monotonic()
        if self._reported_at is None or now - self._reported_at > REPORT_MEMORY_EVERY_S:
            with self.database.write() as session:
                workers.report(session, self.name, WorkerMemory(self.shares.total_bytes, self.shares.resident_bytes()))
            self._reported_at = now

    def run(self, claimed: Claimed) -> None:
        """Run a claimed job to the end of its attempt, in this thread; never raises."""
        metrics.WAIT.observe(claimed.waited_s)
        with metrics.RUNNING.track_inprogress(), self.cores.for_job() as cores:
            self._run_attempt(claimed, cores)

    def _run_beside_slots(self, claim: Callable[[], Claimed | None], poll_s: float, demand: int) -> None:
        """Run jobs that take no slot, one at a time.

        Args:
            demand: how many cores a job gets; with 0 it does not delay trainings.
        """
        while not self.stopping.is_set():
            try:
                if (claimed := claim()) is not None:
                    with self.cores.for_job(demand) as cores:
                        self._run_attempt(claimed, cores)
                    continue
            except Exception:
                log.exception("job_beside_slots_failed")
            self.stopping.wait(poll_s)

    def _run_attempt(self, claimed: Claimed, cores: JobCores) -> None:
        if claimed.kind not in (JobKind.TRAIN, JobKind.EXPERIMENT):
            self._spares.take()  # their memory may be needed
        gpus = self.shares.get_gpus(claimed.held)
        common = self.settings, self.scratch, self.shares, cores, self._spares
        resources = AttemptResources(*common, gpus, has_bfloat16=self.has_bfloat16)
        lease = AttemptLease(
            claimed.held, database=self.database, blobs=self.blobs, keeper=self.keeper, stopping=self.stopping
        )
        try:
            with structlog.contextvars.bound_contextvars(job_id=claimed.held.job_id, attempt=claimed.held.attempt):
                ATTEMPTS[claimed.kind](claimed, claimed.spec, lease, resources).run()
        finally:
            self.shares.give_back(claimed.held)

    def close(self) -> None:
        """Stop the threads and remove the scratch folder; the jobs have been released by then."""
        self.stopping.set()
        for thread in (self._calibrator, self._prover, self._reporter):
            if thread.is_alive():
                thread.join(10)
        for thread in self._beside:
            if thread.is_alive():
                thread.join()  # until its job is settled
        self._reconciler.stop()
        self.keeper.stop()
        self._spares.take()
        self.scratch.close()
        self.database.dispose()
        log.info("worker_stopped", worker=self.name)


def fetch_missing(settings: Settings, database: Database) -> None:
    """Fetch the datasets of `HELDOUT_FETCH` that are not stored, each in a separate process, which may load Keras."""
    try:
        with database.read() as session:
            present = {row.name for row in datasets.list_bundled(session) if row.status is DatasetStatus.READY}
    except DatabaseUnavailable:
        log.warning("database_unavailable", thread="fetch")
        return
    for name in settings.fetch:
        if name in present:
            continue
        try:
            done = subprocess.run(
                build_launch_command([sys.executable, "-m", "worker.training.data.download", name]),
                stdin=subprocess.DEVNULL,
                timeout=DOWNLOAD_TIMEOUT_S,
                cwd=Path(__file__).resolve().parents[2],
                check=False,
            )
            log.info("dataset_fetched" if done.returncode == 0 else "dataset_not_fetched", dataset=name)
        except subprocess.TimeoutExpired:
            log.warning("dataset_not_fetched", dataset=name, after_s=DOWNLOAD_TIMEOUT_S)
