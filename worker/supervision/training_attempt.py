"""One attempt at a training job: starts its process, follows it, and settles the job by how the process ended."""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from analysis.arrays.file_names import MEMBERS_FILE, members_key
from heldout.errors import LeaseLost, StorageUnavailable
from heldout.errors.lost import Damaged
from heldout.lifecycle.job import FailureCode, JobStatus
from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from models.blobs import BlobMissing
from models.store import calibrations, claims
from models.store.artifacts import Artifact
from models.store.claims import Checkpoint, Claimed, Result
from models.stored_files import store_artifact
from worker.machine.cores import JobCores, allowed_towers
from worker.machine.devices import Device, Gpu
from worker.machine.memory_budget import MemoryBudget
from worker.machine.precision import allowed_precision
from worker.machine.scratch import Scratch
from worker.messages import (
    Assignment,
    CheckpointWritten,
    EpochDone,
    Failed,
    Finished,
    FirstStep,
    FromTraining,
    Overfits,
    Started,
    Stop,
    StopCause,
    Stopped,
    TrainedFile,
    Warned,
)
from worker.supervision import metrics as worker_metrics
from worker.supervision.attempt_files import AttemptFiles, BackboneGone, InitialGone, Interrupted
from worker.supervision.foreign_weights import fetch_backbone, fetch_initial
from worker.supervision.lease import AttemptLease
from worker.supervision.memory_watch import MemoryWatch, settle_kill
from worker.supervision.processes import ProcessDied, TrainingProcess, without_folders
from worker.supervision.training_records import record_epoch, record_overfitting, store_checkpoint

log = structlog.get_logger()

# How long the process may take to stop before it is killed. Past a deadline it still measures and exports.
STOP_TIMEOUT_S = {
    StopCause.RELEASE: 8.0,
    StopCause.CANCEL: 20.0,
    StopCause.PAUSE: 60.0,
    StopCause.DEADLINE: 300.0,
}


class CheckpointUnusable(Exception):
    """The process could not continue from the checkpoint that it was given."""


class TrainingAttempt:
    """Runs in one thread of the worker. Everything it writes names the attempt that it holds."""

    def __init__(
        self,
        claimed: Claimed,
        spec: JobSpec,
        lease: AttemptLease,
        *,
        settings: Settings,
        scratch: Scratch,
        memory: MemoryBudget,
        gpus: Sequence[Gpu],
        cores: JobCores,
        core_count: int,
        has_bfloat16: bool,
    ) -> None:
        self._claimed = claimed
        self._spec = spec
        self._lease = lease
        self._files = AttemptFiles(lease, settings)
        self._scratch = scratch
        self._memory = memory
        self._watch = MemoryWatch(memory, claimed)
        self._gpus = gpus
        self._cores = cores
        self._core_count = core_count
        self._has_bfloat16 = has_bfloat16
        self._began = time.monotonic()
        self._epoch_seconds: list[float] = []
        self._whole_epochs = 0
        self._process: TrainingProcess | None = None
        self._folder = Path()

    def run(self) -> None:
        """Train, whatever happens; the job is settled, or belongs to somebody else, when this returns."""
        with self._lease as lease:
            self._folder = self._scratch.attempt(lease.held.job_id, lease.held.attempt)
            try:
                self._train()
            finally:
                if self._process is not None:
                    self._process.kill()
                shutil.rmtree(self._folder, ignore_errors=True)

    # --- start ---------------------------------------------------------------------------------------

    def _train(self) -> None:
        with ExitStack() as stack:
            try:
                dataset = self._files.open_dataset(self._claimed.dataset.sha256, stack.enter_context)
                self._train_on(dataset)
            except InitialGone as gone:
                self._lease.fail(FailureCode.INITIAL_UNAVAILABLE, str(gone))
            except BackboneGone as gone:
                self._lease.fail(FailureCode.BACKBONE_UNAVAILABLE, str(gone))
            except BlobMissing:
                self._lease.fail(FailureCode.DATASET_UNAVAILABLE, "The dataset's images are not in the blob store.")
            except Interrupted as interrupted:
                self._settle_stopped(interrupted.requested)
            except Damaged as damaged:
                self._lease.fail(FailureCode(damaged.code), damaged.detail)
            except StorageUnavailable:
                self._lease.fail(
                    FailureCode.STORAGE_UNAVAILABLE, "The blob store does not answer, or this worker's disk is full."
                )

    def _train_on(self, dataset: Path) -> None:
        for checkpoint in (*self._claimed.begins.checkpoints, None):
            try:
                self._follow(dataset, checkpoint)
                return
            except CheckpointUnusable as error:
                self._lease.warn(f"A checkpoint could not be used: {error} Going on from the one before it.")

    def _follow(self, dataset: Path, checkpoint: Checkpoint | None) -> None:
        try:
            assignment = self._assignment(dataset, checkpoint)
            self._watch.begin()
            self._process = TrainingProcess(assignment, self._folder)
            self._follow_messages(self._process, checkpoint)
        except ProcessDied as died:
            if self._lease.is_lost:
                raise LeaseLost(self._lease.held.job_id, self._lease.held.attempt) from died
            # A signal to our whole group ends the process a moment before we hear of it ourselves.
            if self._lease.stopping.wait(0.5):
                self._lease.release()
                return
            kill = self._watch.kill_of(died.exit_code)
            if kill is not None:
                settle_kill(self._lease, kill, self._memory.total_bytes)
                return
            lines = self._process.last_lines() if self._process is not None else []
            what = "The training process died. The last lines of its output are attached."
            self._lease.warn(what, log=without_folders(lines), exit_code=died.exit_code)
            self._lease.fail(FailureCode.PROCESS_DIED, str(died))

    def _assignment(self, dataset: Path, checkpoint: Checkpoint | None) -> Assignment:
        file = None
        if checkpoint is not None:
            file = self._folder / "resume.ckpt"
            try:
                self._files.fetch(checkpoint.key, file)
            except BlobMissing as error:
                raise CheckpointUnusable(f"{checkpoint.key} is not in the blob store.") from error
        claimed, folder = self._claimed, self._folder
        relations = self._files.fetch_relations(claimed, folder, needed=self._spec.folds is not None)
        initial = fetch_initial(self._files, claimed, folder, self._lease, self._watch)
        backbone = fetch_backbone(self._files, claimed, folder, self._lease, self._watch)
        names = self._folder / MEMBERS_FILE
        has_names = self._files.fetch_if_there(members_key(self._claimed.dataset.id), names)
        device: Device = "gpu" if self._gpus else "cpu"
        capability = min((gpu.capability for gpu in self._gpus), default=None)
        return Assignment(
            job_id=self._lease.held.job_id,
            attempt=self._lease.held.attempt,
            spec=self._spec,
            dataset=str(dataset),
            scratch=str(self._folder),
            checkpoint=str(file) if file else None,
            device=device,
            gpus=tuple(gpu.id for gpu in self._gpus),
            precision=allowed_precision(
                self._spec.training.precision, device, capability, has_bfloat16=self._has_bfloat16
            ),
            threads=1,
            towers=allowed_towers(self._spec.resources.towers, device),
            cores=self._core_count,
            resident_bytes=self._memory.resident_bytes([gpu.memory_bytes for gpu in self._gpus]),
            relations=str(relations) if relations else None,
            initial=str(initial) if initial else None,
            initial_layers=claimed.begins.initial.layers if claimed.begins.initial else (),
            backbone=backbone,
            names=str(names) if has_names else None,
            for_study=claimed.study_id is not None,
            dataset_sha256=claimed.dataset.sha256,
        )

    # --- follow --------------------------------------------------------------------------------------

    def _follow_messages(self, process: TrainingProcess, checkpoint: Checkpoint | None) -> None:
        requested: StopCause | None = None
        requested_at = 0.0
        while True:
            self._lease.require()
            new_request = self._lease.requested_stop(out_of_time=self._runtime_s() >= self._spec.limits.max_runtime_s)
            if new_request is StopCause.CANCEL and not self._whole_epochs:
                process.kill()
                self._lease.stop_as_requested()
                return
            if new_request is not None and requested is not new_request and requested is not StopCause.CANCEL:
                process.stop(Stop(new_request))
                requested, requested_at = new_request, time.monotonic()
            if requested is not None and time.monotonic() - requested_at > STOP_TIMEOUT_S[requested]:
                process.kill()
                self._settle_stopped(requested)
                return
            self._watch.look(process.pid)
            message = process.receive(0.1)
            if isinstance(message, Stopped):
                if message.checkpoint is not None:
                    store_checkpoint(self._lease, Path(message.checkpoint), message.epoch, message.step)
                self._settle_stopped(requested, message.model)
                return
            if message is not None and self._handle(message, checkpoint):
                return

    def _handle(self, message: FromTraining, checkpoint: Checkpoint | None) -> bool:
        """Act on one message; True if the job is settled by it."""
        match message:
            case Started(engine=engine, split_digests=split_digests):
                if self._process is not None:
                    self._cores.pin_process(self._process.pid, engine["towers"])
                spec = self._spec.with_choices(
                    device=engine["device"], towers=engine["towers"], precision=engine["precision"]
                )
                start_epoch = self._whole_epochs = checkpoint.epoch if checkpoint else 0
                left = self._spec.training.epochs - start_epoch
                unusable = self._lease.persist(
                    lambda session: claims.record_start(
                        session,
                        self._lease.held,
                        engine=engine,
                        spec=spec,
                        start_epoch=start_epoch,
                        split_digests=split_digests,
                        eta_s=calibrations.expected_rest_s(session, self._lease.held.job_id, spec, left),
                    )
                )
                self._lease.forget(unusable)
                if checkpoint is not None:
                    self._warn_of_slow_precision(engine)
            case FirstStep():
                worker_metrics.FIRST_STEP.observe(self._runtime_s() - self._claimed.runtime_s)
                log.info("first_step", after_s=round(self._runtime_s() - self._claimed.runtime_s, 3))
            case EpochDone():
                self._write_epoch(message)
            case CheckpointWritten(checkpoint=file, epoch=epoch, step=step):
                store_checkpoint(self._lease, Path(file), epoch, step)
            case Overfits():
                record_overfitting(self._lease, message)
            case Warned(message=text, data=data):
                self._lease.warn(text, **data)
            case Finished():
                self._finish(message)
                return True
            case Failed(code=FailureCode.CHECKPOINT_DAMAGED, detail=detail):
                raise CheckpointUnusable(detail)
            case Failed(code=code, detail=detail):
                if code == FailureCode.INTERNAL and self._process is not None:
                    self._lease.warn(
                        "The training failed. The last lines of its output are attached.",
                        log=without_folders(self._process.last_lines()),
                    )
                self._lease.fail(code, detail)
                return True
        return False

    def _warn_of_slow_precision(self, engine: Mapping[str, Any]) -> None:
        """Say so where a job goes on in 16 bits on a processor that has no units for them."""
        if engine["precision"] == "mixed" and engine["device"] == "cpu" and not self._has_bfloat16:
            self._lease.warn(
                "The job goes on in mixed precision, in which it began, but this worker's processor has no units (AMX) "
                "for bfloat16: an epoch may take longer than before.",
                precision="mixed",
            )

    def _write_epoch(self, done: EpochDone) -> None:
        self._whole_epochs = done.epoch
        self._epoch_seconds.append(done.usual_s)
        left = self._spec.training.epochs - done.epoch
        recent = sorted(self._epoch_seconds[-5:])
        eta_s = round(left * recent[len(recent) // 2], 1)
        record_epoch(self._lease, done, epochs=self._spec.training.epochs, eta_s=eta_s)
        if done.checkpoint is not None:
            store_checkpoint(self._lease, Path(done.checkpoint), done.epoch, 0)

    # --- settle --------------------------------------------------------------------------------------

    def _finish(self, done: Finished) -> None:
        try:
            stored = self._files.retried(lambda: tuple(self._store(file) for file in done.files))
        except StorageUnavailable:
            self._lease.fail(
                FailureCode.STORAGE_UNAVAILABLE,
                "The model could not be stored: the blob store does not answer, or is full.",
            )
            return
        result = Result(done.final, stored, done.other_reads, done.scores)
        reason = done.stop_reason
        keys = {one.key for one in stored}
        try:
            status = self._lease.settle(
                lambda s: claims.succeed(s, self._lease.held, result=result, stop_reason=reason), result
            )
        except LeaseLost:
            self._lease.forget(keys)
            raise
        if status is not JobStatus.SUCCEEDED:
            self._lease.forget(keys - {one.key for one in claims.kept_when_cancelled(stored)})

    def _store(self, file: TrainedFile) -> Artifact:
        return store_artifact(self._lease.blobs, self._lease.key(file.path.name), file.path, file.name, file.format)

    def _settle_stopped(self, requested: StopCause | None, model: TrainedFile | None = None) -> None:
        if requested is StopCause.DEADLINE:
            self._lease.fail(
                FailureCode.DEADLINE, "limits.max_runtime_s has passed and the process did not end in time."
            )
        elif requested in {StopCause.CANCEL, StopCause.PAUSE}:
            self._lease.stop_as_requested(self._stored_if_possible(model))
        else:
            self._lease.release()

    def _stored_if_possible(self, model: TrainedFile | None) -> list[Artifact]:
        try:
            return [] if model is None else [self._store(model)]
        except StorageUnavailable:
            self._lease.warn("The kept weights could not be stored as a model.")
            return []

    def _runtime_s(self) -> float:
        return self._claimed.runtime_s + time.monotonic() - self._began
