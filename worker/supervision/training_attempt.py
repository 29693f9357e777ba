"""One attempt at a job: starts its process, follows it, and settles the job by what became of it."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Literal, TypeVar

import structlog

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.lifecycle import JobStatus, StopReason
from heldout.settings import Settings
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.evaluation import StoredEvaluation
from models.blobs import BlobMissing
from models.database import Session
from models.store import calibrations, claims, events, metrics
from models.store.claims import Checkpoint, Claimed, Result
from models.stored_files import store_artifact
from worker.machine.cache import dataset_on_disk
from worker.machine.cores import Place
from worker.machine.devices import Device, Gpu
from worker.machine.memory import memory_bytes, resident_bytes
from worker.machine.precision import Precision, chosen_precision
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
    Stopped,
    Warned,
)
from worker.supervision import metrics as worker_metrics
from worker.supervision.lease import AttemptLease, StopRequest
from worker.supervision.processes import ProcessDied, TrainingProcess

log = structlog.get_logger()

T = TypeVar("T")

# How long the process may take to obey before it is ended by force. Past a deadline it still measures and exports.
OBEY_S = {"release": 8.0, "pause": 60.0, "deadline": 300.0}
STORAGE_TRIES = 10


class CheckpointUnusable(Exception):
    """The process could not continue from the checkpoint that it was given."""


class Interrupted(Exception):
    """Somebody wants the attempt to end while it waits for files."""

    def __init__(self, wanted: StopRequest) -> None:
        self.wanted = wanted


class Attempt:
    """Runs in one thread of the worker. Everything it writes names the attempt that it holds."""

    def __init__(
        self,
        claimed: Claimed,
        lease: AttemptLease,
        *,
        settings: Settings,
        scratch: Scratch,
        slots: int,
        gpus: Sequence[Gpu],
        place: Place,
    ) -> None:
        self._claimed = claimed
        self._lease = lease
        self._settings = settings
        self._scratch = scratch
        self._slots = slots
        self._gpus = gpus
        self._place = place
        self._began = time.monotonic()
        self._epoch_seconds: list[float] = []
        self._process: TrainingProcess | None = None
        self._folder = Path()
        self._precision: Precision = "float32"

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
                dataset = self._patiently(lambda: stack.enter_context(self._dataset()))
                self._train_on(dataset)
            except BlobMissing:
                self._lease.fail("dataset_unavailable", "The dataset's images are not in the blob store.")
            except Interrupted as interrupted:
                self._settle_stopped(interrupted.wanted)
            except StorageUnavailable:
                self._lease.fail(
                    "storage_unavailable", "The blob store does not answer, or this worker's disk is full."
                )

    def _dataset(self) -> AbstractContextManager[Path]:
        cache = self._settings.home_path / "datasets"
        sha256, cap_bytes = self._claimed.dataset_sha256, self._settings.cache_bytes
        return dataset_on_disk(self._lease.blobs, sha256, cache, cap_bytes, self._watch)

    def _train_on(self, dataset: Path) -> None:
        for checkpoint in (*self._claimed.checkpoints, None):
            try:
                self._follow(dataset, checkpoint)
                return
            except CheckpointUnusable as error:
                self._lease.warn(f"A checkpoint could not be used: {error} Going on from the one before it.")

    def _patiently(self, fetch: Callable[[], T]) -> T:
        """What `fetch` gives, tried again while the store or this machine's disk is out of order.

        Raises:
            BlobMissing: it is not there, and waiting does not help.
            StorageUnavailable: it took too long.
            Interrupted: the attempt is to end.
        """
        for attempt in range(1, STORAGE_TRIES + 1):
            try:
                return fetch()
            except (StorageUnavailable, OSError) as error:
                self._watch()
                if attempt == STORAGE_TRIES:
                    raise StorageUnavailable from error
                self._lease.pause()
        raise AssertionError("unreachable")

    def _watch(self) -> None:
        """Raises Interrupted or LeaseLost where there is nothing to wait for any more."""
        self._lease.require()
        # Past its deadline a job still gets its files: what it has trained makes it succeed.
        wanted = self._lease.requested_stop(out_of_time=False)
        if wanted is not None:
            raise Interrupted(wanted)

    def _follow(self, dataset: Path, checkpoint: Checkpoint | None) -> None:
        try:
            assignment = self._assignment(dataset, checkpoint)
            self._precision = assignment.precision
            self._process = TrainingProcess(assignment, self._folder)
            self._listen(self._process, checkpoint)
        except ProcessDied as died:
            if self._lease.is_lost:
                raise LeaseLost(self._lease.held.job_id, self._lease.held.attempt) from died
            # A signal to our whole group ends the process a moment before we hear of it ourselves.
            if self._lease.stopping.wait(0.5):
                self._lease.release()
                return
            lines = self._process.last_lines() if self._process is not None else []
            what = "The training process died. Its last lines are attached."
            self._lease.warn(what, log=lines, exit_code=died.exit_code)
            self._lease.fail("process_died", str(died))

    def _assignment(self, dataset: Path, checkpoint: Checkpoint | None) -> Assignment:
        file = None
        if checkpoint is not None:
            file = self._folder / "resume.ckpt"
            key, to = checkpoint.key, file
            try:
                self._patiently(lambda: self._lease.blobs.fetch(key, to, watch=self._watch))
            except BlobMissing as error:
                raise CheckpointUnusable(f"{checkpoint.key} is not in the blob store.") from error
        resources, training = self._claimed.spec["resources"], self._claimed.spec["training"]
        device: Device = "gpu" if self._gpus else "cpu"
        capability = min((gpu.capability for gpu in self._gpus), default=None)
        towers = resources["towers"]
        if towers == "auto" and (device == "gpu" or not self._place.is_roomy):
            towers = 1
        gpu_memory = [gpu.memory_bytes for gpu in self._gpus]
        return Assignment(
            job_id=self._lease.held.job_id,
            attempt=self._lease.held.attempt,
            spec=self._claimed.spec,
            dataset=str(dataset),
            scratch=str(self._folder),
            checkpoint=str(file) if file else None,
            device=device,
            gpus=tuple(gpu.id for gpu in self._gpus),
            precision=chosen_precision(training["precision"], device, capability),
            threads=1,
            towers=towers,
            resident_bytes=resident_bytes(memory_bytes(), self._slots, gpu_memory),
        )

    # --- follow --------------------------------------------------------------------------------------

    def _listen(self, process: TrainingProcess, checkpoint: Checkpoint | None) -> None:
        asked: Literal["pause", "deadline", "release"] | None = None
        asked_at = 0.0
        while True:
            self._lease.require()
            wanted = self._lease.requested_stop(
                out_of_time=self._ran_s() >= self._claimed.spec["limits"]["max_runtime_s"]
            )
            if wanted == "cancel":
                process.kill()
                self._lease.carry_out()
                return
            if wanted is not None and asked is None:
                process.stop(Stop(wanted))
                asked, asked_at = wanted, time.monotonic()
            if asked is not None and time.monotonic() - asked_at > OBEY_S[asked]:
                process.kill()
                self._settle_stopped(asked)
                return
            message = process.receive(0.1)
            if isinstance(message, Stopped):
                if message.checkpoint is not None:
                    self._keep_checkpoint(Path(message.checkpoint), message.epoch, message.step)
                self._settle_stopped(asked)
                return
            if message is not None and self._handled(message, checkpoint):
                return

    def _handled(self, message: FromTraining, checkpoint: Checkpoint | None) -> bool:
        """Act on one message; True if the job is settled by it."""
        match message:
            case Started(engine=engine):
                if self._process is not None:
                    self._place.pin_process(self._process.pid, engine["towers"])
                resources = {
                    **self._claimed.spec["resources"],
                    "device": engine["device"],
                    "towers": engine["towers"],
                }
                training = {**self._claimed.spec["training"], "precision": self._precision}
                spec = {**self._claimed.spec, "resources": resources, "training": training}
                start_epoch = checkpoint.epoch if checkpoint else 0
                left = self._claimed.epochs - start_epoch
                unusable = self._lease.persist(
                    lambda session: claims.begin(
                        session,
                        self._lease.held,
                        engine=engine,
                        spec=spec,
                        start_epoch=start_epoch,
                        eta_s=calibrations.expected_rest_s(session, self._claimed.dataset_id, spec, left),
                    )
                )
                self._lease.forget(unusable)
            case FirstStep():
                worker_metrics.FIRST_STEP.observe(self._ran_s() - self._claimed.runtime_s)
                log.info("first_step", after_s=round(self._ran_s() - self._claimed.runtime_s, 3))
            case EpochDone():
                self._write_epoch(message)
            case CheckpointWritten(checkpoint=file, epoch=epoch, step=step):
                self._keep_checkpoint(Path(file), epoch, step)
            case Overfits():
                self._tell_overfitting(message)
            case Warned(message=text, data=data):
                self._lease.warn(text, **data)
            case Finished():
                self._finish(message)
                return True
            case Failed(code="checkpoint_damaged", detail=detail):
                raise CheckpointUnusable(detail)
            case Failed(code=code, detail=detail):
                if code == "internal" and self._process is not None:
                    self._lease.warn("The training broke. Its last lines are attached.", log=self._process.last_lines())
                self._lease.fail(code, detail)
                return True
        return False

    def _write_epoch(self, done: EpochDone) -> None:
        self._epoch_seconds.append((done.values.get("seconds") or 0.0) + (done.values.get("evaluation_seconds") or 0.0))
        left = self._claimed.epochs - done.epoch
        recent = sorted(self._epoch_seconds[-5:])
        eta_s = round(left * recent[len(recent) // 2], 1)

        def write(session: Session) -> None:
            if not metrics.add_epoch(session, self._lease.held, done.epoch, done.values):
                return
            claims.progress(session, self._lease.held, epoch=done.epoch, eta_s=eta_s)
            accuracy = done.values.get("validation_accuracy")
            shown = "not finite" if accuracy is None else f"{accuracy:.4f}"
            events.add(
                session,
                self._lease.held.job_id,
                "job.epoch",
                f"Epoch {done.epoch} of {self._claimed.epochs}: validation accuracy {shown}.",
                data={"epoch": done.epoch, **done.values},
            )

        self._lease.persist(write)
        worker_metrics.EPOCHS.inc()
        log.info("epoch_done", epoch=done.epoch)
        if done.checkpoint is not None:
            self._keep_checkpoint(Path(done.checkpoint), done.epoch, 0)

    def _tell_overfitting(self, seen: Overfits) -> None:
        def add(session: Session) -> None:
            claims.require_held(session, self._lease.held)
            # The guard tells it once; an attempt that goes on from an epoch before it sees it again.
            if events.has_event(session, self._lease.held.job_id, "job.overfitting"):
                return
            events.add(
                session,
                self._lease.held.job_id,
                "job.overfitting",
                seen.explanation,
                level="warning",
                data={"epoch": seen.epoch, "best_epoch": seen.best_epoch},
            )

        self._lease.persist(add)

    def _keep_checkpoint(self, file: Path, epoch: int, step: int) -> None:
        """Store a checkpoint and forget those that it replaces; a store that is full is a warning, not a failure."""
        place = Checkpoint(epoch, step, self._lease.key(f"checkpoint-{epoch:05d}-{step:08d}.ckpt"))
        try:
            self._lease.blobs.put(place.key, file)
        except FileNotFoundError:
            return  # the process keeps its last few only: a newer one follows
        except StorageUnavailable:
            self._lease.warn("A checkpoint could not be stored; training goes on.", epoch=epoch)
            return
        finally:
            file.unlink(missing_ok=True)

        dropped: set[str] = set()  # in any try: a commit may have been heard though nobody said so

        def note(session: Session) -> None:
            is_new = bool(claims.unnamed(session, [place.key]))
            dropped.update(claims.add_checkpoint(session, self._lease.held, place))
            if not is_new:
                return
            events.add(
                session,
                self._lease.held.job_id,
                "job.checkpoint",
                f"State after epoch {epoch} stored." if not step else f"State in epoch {epoch + 1} stored.",
                data={"epoch": epoch, "step": step},
            )

        try:
            self._lease.persist(note)
        except LeaseLost:
            self._lease.forget(self._lease.persist(lambda session: claims.unnamed(session, [place.key])))
            raise
        self._lease.forget(dropped)

    # --- settle --------------------------------------------------------------------------------------

    def _finish(self, done: Finished) -> None:
        files = (
            ("model.keras", done.model, ArtifactName.MODEL, ArtifactFormat.KERAS),
            ("predictions.npz", done.predictions, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ),
            (StoredEvaluation.file_name, done.evaluation, ArtifactName.EVALUATION, ArtifactFormat.JSON),
        )
        for attempt in range(1, STORAGE_TRIES + 1):
            try:
                stored = tuple(
                    store_artifact(self._lease.blobs, self._lease.key(file_name), Path(file), name, format_)
                    for file_name, file, name, format_ in files
                )
                break
            except StorageUnavailable:
                if attempt == STORAGE_TRIES:
                    self._lease.fail("storage_unavailable", "The model could not be stored: the blob store is full.")
                    return
                self._lease.pause()
        result = Result(final=done.final, artifacts=stored)
        reason = StopReason(done.stop_reason)
        keys = [one.key for one in stored]
        try:
            status = self._lease.settle(
                lambda s: claims.succeed(s, self._lease.held, result=result, stop_reason=reason), result
            )
        except LeaseLost:
            self._lease.forget(keys)
            raise
        if status is not JobStatus.SUCCEEDED:
            self._lease.forget(keys)

    def _settle_stopped(self, asked: StopRequest | None) -> None:
        if asked == "deadline":
            self._lease.fail("deadline", "limits.max_runtime_s has passed and the process did not end in time.")
        elif asked in {"cancel", "pause"}:
            self._lease.carry_out()
        else:
            self._lease.release()

    def _ran_s(self) -> float:
        return self._claimed.runtime_s + time.monotonic() - self._began
