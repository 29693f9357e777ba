"""One attempt at a job: starts its process, follows it, and settles the job by what became of it."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import structlog

from heldout.errors import DatabaseUnavailable, LeaseLost, StorageUnavailable
from heldout.lifecycle import JobRequest, JobStatus, StopReason
from heldout.settings import Settings
from models.blobs import BlobMissing, Blobs
from models.database import Database, Session
from models.store import claims, events, metrics
from models.store.claims import Checkpoint, Claimed, Result
from worker import metrics as worker_metrics
from worker.cache import dataset_folder
from worker.devices import chosen_device
from worker.keeper import Keeper
from worker.messages import (
    Assignment,
    EpochDone,
    Failed,
    Finished,
    FirstStep,
    FromTraining,
    Started,
    Stop,
    Stopped,
    Warned,
)
from worker.processes import ProcessDied, TrainingProcess
from worker.scratch import Scratch

log = structlog.get_logger()

T = TypeVar("T")

# How long the process may take to obey before it is ended by force. Past a deadline it still measures and exports.
OBEY_S = {"release": 8.0, "pause": 60.0, "deadline": 300.0}
RETRY_EVERY_S = 1.0
STORAGE_TRIES = 10


class CheckpointUnusable(Exception):
    """The process could not continue from the checkpoint that it was given."""


class Abandoned(Exception):
    """The worker stops while the database does not answer: the lease will run out by itself."""


def wish(
    request: JobRequest | None, *, stopping: bool, out_of_time: bool
) -> Literal["cancel", "pause", "deadline", "release"] | None:
    """What should become of a running attempt now; what a client asked comes first."""
    if request is JobRequest.CANCEL:
        return "cancel"
    if request is JobRequest.PAUSE:
        return "pause"
    if out_of_time:
        return "deadline"
    return "release" if stopping else None


class Attempt:
    """Runs in one thread of the worker. Everything it writes names the attempt that it holds."""

    def __init__(
        self,
        claimed: Claimed,
        *,
        settings: Settings,
        database: Database,
        blobs: Blobs,
        keeper: Keeper,
        scratch: Scratch,
        gpus: int,
        stopping: threading.Event,
    ) -> None:
        self._claimed = claimed
        self._held = claimed.held
        self._settings = settings
        self._database = database
        self._blobs = blobs
        self._keeper = keeper
        self._scratch = scratch
        self._gpus = gpus
        self._stopping = stopping
        self._began = time.monotonic()
        self._epoch_seconds: list[float] = []
        self._process: TrainingProcess | None = None
        self._folder = Path()

    def run(self) -> None:
        """Train, whatever happens; the job is settled, or belongs to somebody else, when this returns."""
        self._keeper.hold(self._held)
        try:
            self._folder = self._scratch.attempt(self._held.job_id, self._held.attempt)
            self._train()
        except LeaseLost:
            log.warning("attempt_lost")
        except Abandoned:
            log.warning("attempt_abandoned")
        except Exception as error:
            log.exception("attempt_broke")
            self._settle_failed("internal", f"The worker broke: {type(error).__name__}.")
        finally:
            if self._process is not None:
                self._process.kill()
            self._keeper.let_go(self._held)
            shutil.rmtree(self._folder, ignore_errors=True)

    # --- start ---------------------------------------------------------------------------------------

    def _train(self) -> None:
        try:
            dataset = dataset_folder(self._blobs, self._claimed.dataset_sha256, self._settings.home_path / "datasets")
        except BlobMissing:
            self._settle_failed("dataset_unavailable", "The dataset's images are not in the blob store.")
            return
        except (StorageUnavailable, OSError):
            self._settle_failed("storage_unavailable", "The blob store does not answer.")
            return
        for checkpoint in (*self._claimed.checkpoints, None):
            try:
                self._follow(dataset, checkpoint)
                return
            except CheckpointUnusable as error:
                self._warn(f"A checkpoint could not be used: {error} Going on from the one before it.")

    def _follow(self, dataset: Path, checkpoint: Checkpoint | None) -> None:
        try:
            self._process = TrainingProcess(self._assignment(dataset, checkpoint), self._folder)
            self._listen(self._process, checkpoint)
        except ProcessDied as died:
            if self._keeper.is_lost(self._held):
                raise LeaseLost(self._held.job_id, self._held.attempt) from died
            # A signal to our whole group ends the process a moment before we hear of it ourselves.
            if self._stopping.wait(0.5):
                self._settle(lambda session: claims.release(session, self._held))
                return
            lines = self._process.last_lines() if self._process is not None else []
            self._warn("The training process died. Its last lines are attached.", log=lines, exit_code=died.exit_code)
            self._settle_failed("process_died", str(died))

    def _assignment(self, dataset: Path, checkpoint: Checkpoint | None) -> Assignment:
        file = None
        if checkpoint is not None:
            file = self._folder / "resume.ckpt"
            try:
                self._blobs.fetch(checkpoint.key, file)
            except (BlobMissing, StorageUnavailable, OSError) as error:
                raise CheckpointUnusable(f"{checkpoint.key} cannot be read.") from error
        resources = self._claimed.spec["resources"]
        return Assignment(
            job_id=self._held.job_id,
            attempt=self._held.attempt,
            spec=self._claimed.spec,
            dataset=str(dataset),
            scratch=str(self._folder),
            checkpoint=str(file) if file else None,
            device=chosen_device(resources["device"], self._gpus),
            threads=1,
            towers=2 if resources["towers"] == 2 else 1,
        )

    # --- follow --------------------------------------------------------------------------------------

    def _listen(self, process: TrainingProcess, checkpoint: Checkpoint | None) -> None:
        asked: Literal["pause", "deadline", "release"] | None = None
        asked_at = 0.0
        while True:
            if self._keeper.is_lost(self._held):
                raise LeaseLost(self._held.job_id, self._held.attempt)
            wanted = wish(
                self._keeper.request_for(self._held),
                stopping=self._stopping.is_set(),
                out_of_time=self._ran_s() >= self._claimed.spec["limits"]["max_runtime_s"],
            )
            if wanted == "cancel":
                process.kill()
                self._settle(lambda session: claims.carry_out(session, self._held))
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
                resources = {
                    **self._claimed.spec["resources"],
                    "device": engine["device"],
                    "towers": engine["towers"],
                }
                unusable = self._persist(
                    lambda session: claims.begin(
                        session,
                        self._held,
                        engine=engine,
                        spec={**self._claimed.spec, "resources": resources},
                        start_epoch=checkpoint.epoch if checkpoint else 0,
                    )
                )
                self._forget(unusable)
            case FirstStep():
                worker_metrics.FIRST_STEP.observe(self._ran_s() - self._claimed.runtime_s)
                log.info("first_step", after_s=round(self._ran_s() - self._claimed.runtime_s, 3))
            case EpochDone():
                self._write_epoch(message)
            case Warned(message=text, data=data):
                self._warn(text, **data)
            case Finished():
                self._finish(message)
                return True
            case Failed(code="checkpoint_damaged", detail=detail):
                raise CheckpointUnusable(detail)
            case Failed(code=code, detail=detail):
                if code == "internal" and self._process is not None:
                    self._warn("The training broke. Its last lines are attached.", log=self._process.last_lines())
                self._settle_failed(code, detail)
                return True
        return False

    def _write_epoch(self, done: EpochDone) -> None:
        self._epoch_seconds.append((done.values.get("seconds") or 0.0) + (done.values.get("evaluation_seconds") or 0.0))
        left = self._claimed.epochs - done.epoch
        recent = sorted(self._epoch_seconds[-5:])
        eta_s = round(left * recent[len(recent) // 2], 1)

        def write(session: Session) -> None:
            metrics.add_epoch(session, self._held, done.epoch, done.values)
            claims.progress(session, self._held, epoch=done.epoch, eta_s=eta_s)
            accuracy = done.values.get("validation_accuracy")
            shown = "not finite" if accuracy is None else f"{accuracy:.4f}"
            events.add(
                session,
                self._held.job_id,
                "job.epoch",
                f"Epoch {done.epoch} of {self._claimed.epochs}: validation accuracy {shown}.",
                data={"epoch": done.epoch, **done.values},
            )

        self._persist(write)
        worker_metrics.EPOCHS.inc()
        log.info("epoch_done", epoch=done.epoch)
        if done.checkpoint is not None:
            self._keep_checkpoint(Path(done.checkpoint), done.epoch, 0)

    def _keep_checkpoint(self, file: Path, epoch: int, step: int) -> None:
        """Store a checkpoint and forget those that it replaces; a store that is full is a warning, not a failure."""
        place = Checkpoint(epoch, step, self._key(f"checkpoint-{epoch:05d}-{step:08d}.ckpt"))
        try:
            self._blobs.put(place.key, file)
        except FileNotFoundError:
            return  # the process keeps its last few only: a newer one follows
        except StorageUnavailable:
            self._warn("A checkpoint could not be stored; training goes on.", epoch=epoch)
            return
        finally:
            file.unlink(missing_ok=True)

        def note(session: Session) -> list[str]:
            dropped = claims.add_checkpoint(session, self._held, place)
            events.add(
                session,
                self._held.job_id,
                "job.checkpoint",
                f"State after epoch {epoch} stored." if not step else f"State in epoch {epoch + 1} stored.",
                data={"epoch": epoch, "step": step},
            )
            return dropped

        try:
            self._forget(self._persist(note))
        except LeaseLost:
            self._forget([place.key])
            raise

    # --- settle --------------------------------------------------------------------------------------

    def _finish(self, done: Finished) -> None:
        model, predictions = self._key("model.keras"), self._key("predictions.npz")
        for attempt in range(1, STORAGE_TRIES + 1):
            try:
                self._blobs.put(model, Path(done.model))
                self._blobs.put(predictions, Path(done.predictions))
                break
            except StorageUnavailable:
                if attempt == STORAGE_TRIES:
                    self._settle_failed("storage_unavailable", "The model could not be stored: the blob store is full.")
                    return
                self._pause()
        result = Result(final=done.final, model_key=model, predictions_key=predictions)
        reason = StopReason(done.stop_reason)
        try:
            status = self._settle(lambda s: claims.succeed(s, self._held, result=result, stop_reason=reason))
        except LeaseLost:
            self._forget([model, predictions])
            raise
        if status is not JobStatus.SUCCEEDED:
            self._forget([model, predictions])

    def _settle_stopped(self, asked: Literal["pause", "deadline", "release"] | None) -> None:
        if asked == "deadline":
            self._settle_failed("deadline", "limits.max_runtime_s has passed and the process did not end in time.")
        elif asked == "pause":
            self._settle(lambda session: claims.carry_out(session, self._held))
        else:
            self._settle(lambda session: claims.release(session, self._held))

    def _settle_failed(self, code: str, detail: str) -> None:
        worker_metrics.FAILURES.labels(code).inc()
        try:
            self._settle(lambda session: claims.fail(session, self._held, code=code, detail=detail))
        except (LeaseLost, Abandoned):
            log.warning("attempt_lost")

    def _settle(self, work: Callable[[Session], JobStatus]) -> JobStatus:
        """Change the job's state; what only a later attempt would need goes with the end of a job."""

        def settle(session: Session) -> tuple[JobStatus, list[str]]:
            status = work(session)
            return status, claims.forget_checkpoints_of_ended(session, self._held.job_id)

        status, keys = self._persist(settle)
        self._forget(keys)
        worker_metrics.SETTLED.labels(status.value).inc()
        log.info("attempt_settled", status=status.value)
        return status

    def _forget(self, keys: list[str]) -> None:
        for key in keys:
            try:
                self._blobs.delete(key)
            except StorageUnavailable:
                log.warning("blob_not_deleted", key=key)

    # --- small things --------------------------------------------------------------------------------

    def _persist(self, work: Callable[[Session], T]) -> T:
        """Write to the database, waiting for it as long as it is away.

        Raises:
            LeaseLost: the job is no longer this attempt's; nothing was written.
            Abandoned: the worker stops and the database is still away.
        """
        while True:
            try:
                with self._database.write() as session:
                    return work(session)
            except DatabaseUnavailable as error:
                if self._stopping.is_set():
                    raise Abandoned from error
                self._pause()

    def _pause(self) -> None:
        self._stopping.wait(RETRY_EVERY_S)

    def _warn(self, message: str, **data: object) -> None:
        log.warning("job_warning", message=message)

        def add(session: Session) -> None:
            claims.require_held(session, self._held)
            events.add(session, self._held.job_id, "job.warning", message, level="warning", data=data)

        self._persist(add)

    def _ran_s(self) -> float:
        return self._claimed.runtime_s + time.monotonic() - self._began

    def _key(self, name: str) -> str:
        return f"jobs/{self._held.job_id}/{self._held.attempt}/{name}"
