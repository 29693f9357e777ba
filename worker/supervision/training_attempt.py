"""One attempt at a training job: starts its process, follows it, and settles the job by how the process ended."""

import time
from contextlib import ExitStack
from pathlib import Path

import structlog

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.lifecycle.job import FailureCode, JobStatus
from heldout.spec.job import JobSpec
from models.blobs import BlobMissing
from models.store import calibrations, claims
from models.store.artifacts import Artifact
from models.store.claims import Checkpoint, Result
from models.stored_files import store_artifact
from worker import messages
from worker.machine.cores import limit_towers
from worker.machine.devices import Device, limit_precision
from worker.machine.enclosed_process import ProcessDied
from worker.supervision import metrics as worker_metrics
from worker.supervision.attempt import ComputedAttempt
from worker.supervision.attempt_files import Interrupted
from worker.supervision.processes import TrainingProcess, hide_folders
from worker.supervision.training_files import (
    fetch_backbone,
    fetch_initial,
    record_epoch,
    record_overfitting,
    store_checkpoint,
)

log = structlog.get_logger()

# How long the process may take to stop before it is killed. Past a deadline it still measures and exports.
STOP_TIMEOUT_S = {
    messages.StopCause.RELEASE: 8.0,
    messages.StopCause.CANCEL: 20.0,
    messages.StopCause.PAUSE: 60.0,
    messages.StopCause.DEADLINE: 300.0,
}


class CheckpointUnusable(Exception):
    """The process could not continue from the checkpoint that it was given."""


class TrainingAttempt(ComputedAttempt[JobSpec]):
    """An attempt at a training. It reports progress and stops cleanly, so that the next attempt can resume."""

    what = "The training"
    is_experiment = False  # whether only its figures are kept
    remedy = "Use a smaller batch_size or fewer filters."
    _dataset: messages.AssignedDataset
    _checkpoint: Checkpoint | None = None  # from which this process continues
    _requested: messages.StopCause | None = None
    _requested_at = 0.0
    _whole_epochs = 0
    _is_reusable = False  # whether its process may train another job

    # --- start ---------------------------------------------------------------------------------------

    def work(self, in_use: ExitStack) -> None:
        needs_relations = self.cuts_splits
        self._epoch_seconds: list[float] = []
        self._dataset = self.dataset(
            in_use, needs_relations=needs_relations, with_names=True, needs_columns=self.spec.is_about_groups
        )
        for checkpoint in (*self.claimed.begins.checkpoints, None):
            self._checkpoint, self._requested = checkpoint, None
            self._whole_epochs = checkpoint.epoch if checkpoint else 0
            try:
                super().work(in_use)
                return
            except CheckpointUnusable as error:
                self.lease.warn(f"A checkpoint could not be used: {error} Continuing from the previous one.")

    def assignment(self, in_use: ExitStack) -> messages.Assignment:
        spec, resources, initial = self.spec, self.resources, self.claimed.begins.initial
        device: Device = "gpu" if resources.gpus else "cpu"
        capability = min((gpu.capability for gpu in resources.gpus), default=None)
        checkpoint, initial_file = self._fetch_checkpoint(), fetch_initial(self)
        return messages.Assignment(
            job_id=self.lease.held.job_id,
            spec=spec,
            dataset=self._dataset,
            scratch=self.folder,
            machine=messages.AssignedMachine(
                device=device,
                gpus=tuple(gpu.id for gpu in resources.gpus),
                precision=limit_precision(
                    spec.training.precision, device, capability, has_bfloat16=resources.has_bfloat16
                ),
                towers=limit_towers(spec.resources.towers, device),
                cores=resources.cores.count,
                resident_bytes=self.shares.resident_bytes([gpu.memory_bytes for gpu in resources.gpus]),
            ),
            start=messages.AssignedStart(
                checkpoint=checkpoint,
                initial=initial_file,
                initial_layers=() if initial is None else initial.layers,
                backbone=fetch_backbone(self, in_use),
            ),
            features=messages.AssignedFeatures(
                self.settings.home_path / "features", self.settings.feature_cache_bytes, self.claimed.owner
            ),
            for_study=self.claimed.study_id is not None or self.is_experiment,
            is_experiment=self.is_experiment,
        )

    def _fetch_checkpoint(self) -> Path | None:
        if self._checkpoint is None:
            return None
        file = self.folder / "resume.ckpt"
        try:
            self.files.fetch(self._checkpoint.key, file)
        except BlobMissing as error:
            raise CheckpointUnusable(f"{self._checkpoint.key} is not in the blob store.") from error
        return file

    # --- follow --------------------------------------------------------------------------------------

    @property
    def cuts_splits(self) -> bool:
        """Return whether the training has splits of its own, which keep related images together."""
        return self.spec.folds is not None

    @property
    def is_out_of_time(self) -> bool:
        return self.claimed.runtime_s + self._elapsed_s >= self.spec.limits.max_runtime_s

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def look_after(self) -> None:
        """Ask the process to stop if it should; one that does not, or has nothing to keep, is killed."""
        self.lease.require()
        new_request = self.lease.requested_stop(out_of_time=self.is_out_of_time)
        if new_request is messages.StopCause.CANCEL and not self._whole_epochs:
            raise Interrupted(new_request)
        if new_request is not None and self._requested not in {new_request, messages.StopCause.CANCEL}:
            self.child.stop(new_request)
            self._requested, self._requested_at = new_request, time.monotonic()
        requested = self._requested
        if requested is not None and time.monotonic() - self._requested_at > STOP_TIMEOUT_S[requested]:
            raise Interrupted(requested)
        self.watch.look(self.child.pid)

    def end(self, message: messages.FromTraining) -> bool:
        match message:
            case messages.Started():
                self._record_start(message)
            case messages.FirstStep():
                worker_metrics.FIRST_STEP.observe(self._elapsed_s)
                log.info("first_step", after_s=round(self._elapsed_s, 3))
            case messages.EpochDone():
                self._write_epoch(message)
            case messages.CheckpointWritten(checkpoint=file, epoch=epoch, step=step):
                store_checkpoint(self.lease, file, epoch, step)
            case messages.Overfits():
                record_overfitting(self.lease, message)
            case messages.Warned(message=text, data=data):
                self.lease.warn(text, **data)
            case messages.Finished():
                self._finish(message)
                return True
            case messages.Stopped():
                self._settle_stopped(message)
                return True
        return False

    def settle(self, message: messages.FromTraining) -> bool:
        if isinstance(message, messages.Failed) and message.code == FailureCode.CHECKPOINT_DAMAGED:
            raise CheckpointUnusable(message.detail)
        if isinstance(message, messages.Failed) and message.code == FailureCode.INTERNAL:
            what = "The training failed. The last lines of its output are attached."
            self.lease.warn(what, log=hide_folders(self.child.last_lines()))
        return super().settle(message)

    def _record_start(self, started: messages.Started) -> None:
        engine = started.engine
        self.resources.cores.pin_process(self.child.pid, engine["towers"] * engine["threads"])
        spec = self.spec.replace_choices(
            device=engine["device"], towers=engine["towers"], precision=engine["precision"]
        )
        left = self.spec.training.epochs - self._whole_epochs
        unusable = self.lease.persist(
            lambda session: claims.record_start(
                session,
                self.lease.held,
                engine=engine,
                spec=spec,
                start_epoch=self._whole_epochs,
                split_digests=started.split_digests,
                eta_s=calibrations.estimate_rest_s(session, self.lease.held.job_id, spec, left),
            )
        )
        self.lease.forget(unusable)
        is_slow = engine["precision"] == "mixed" and engine["device"] == "cpu" and not self.resources.has_bfloat16
        if self._checkpoint is not None and is_slow:
            self.lease.warn(
                "The job continues in mixed precision, as it began, but this worker's processor has no units (AMX) "
                "for bfloat16: an epoch may take longer than before.",
                precision="mixed",
            )

    def _write_epoch(self, done: messages.EpochDone) -> None:
        epochs = self.spec.training.epochs
        self._whole_epochs = done.epoch
        self._epoch_seconds.append(done.usual_s)
        recent = sorted(self._epoch_seconds[-5:])
        eta_s = round((epochs - done.epoch) * recent[len(recent) // 2], 1)
        record_epoch(self.lease, done, epochs=epochs, eta_s=eta_s)
        if done.checkpoint is not None:
            store_checkpoint(self.lease, done.checkpoint, done.epoch, 0)

    # --- settle --------------------------------------------------------------------------------------

    def _finish(self, done: messages.Finished) -> None:
        try:
            stored = self.files.retry_while_away(lambda: tuple(self._store(file) for file in done.files))
        except StorageUnavailable:
            detail = "The model could not be stored: the blob store does not answer, or is full."
            self.lease.fail(FailureCode.STORAGE_UNAVAILABLE, detail)
            return
        result = Result(done.final, stored, done.other_reads, done.scores)
        reason = done.stop_reason
        keys = {artifact.key for artifact in stored}
        try:
            status = self.lease.settle(
                lambda s: claims.succeed(s, self.lease.held, result=result, stop_reason=reason), result
            )
        except LeaseLost:
            self.lease.forget(keys)
            raise
        is_usual = status is JobStatus.SUCCEEDED and not self.resources.gpus
        self._is_reusable = is_usual and self.claimed.study_id is not None
        if status is not JobStatus.SUCCEEDED:
            self.lease.forget(keys - {artifact.key for artifact in claims.select_kept_when_cancelled(stored)})

    def _store(self, file: messages.TrainedFile) -> Artifact:
        return store_artifact(self.lease.blobs, self.lease.key(file.path.name), file.path, file.name, file.format)

    def _settle_stopped(self, stopped: messages.Stopped) -> None:
        if stopped.checkpoint is not None:
            store_checkpoint(self.lease, stopped.checkpoint, stopped.epoch, stopped.step)
        if self._requested is messages.StopCause.DEADLINE:
            self.settle_late()
        elif self._requested in {messages.StopCause.CANCEL, messages.StopCause.PAUSE}:
            self.lease.stop_as_requested(self._store_if_possible(stopped.model))
        else:
            self.lease.release()

    def _store_if_possible(self, model: messages.TrainedFile | None) -> list[Artifact]:
        try:
            return [] if model is None else [self._store(model)]
        except StorageUnavailable:
            self.lease.warn("The kept weights could not be stored as a model.")
            return []

    def let_go(self, child: TrainingProcess) -> None:
        """Keep the process for a moment if nothing unusual has happened: it may train a job with another seed."""
        if self._is_reusable and self._requested is None and self.watch.is_within_limit(child.pid):
            self.resources.spares.put(child)
        else:
            super().let_go(child)

    def settle_late(self) -> None:
        detail = "limits.max_runtime_s has passed and the process did not end in time."
        self.lease.fail(FailureCode.DEADLINE, detail)

    def settle_died(self, died: ProcessDied, last_lines: list[str]) -> None:
        what = "The training process died. The last lines of its output are attached."
        self.lease.warn(what, log=hide_folders(last_lines), exit_code=died.exit_code)
        super().settle_died(died, last_lines)
