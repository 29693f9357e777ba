"""One attempt at an ingest: starts its process, follows it, stores what it made, settles the dataset."""

import shutil
import time
from pathlib import Path

import structlog

from heldout.dataset_lifecycle import RejectionCode
from heldout.errors import StorageUnavailable
from heldout.kinds import IngestSpec
from heldout.lifecycle import JobStatus
from heldout.settings import Settings
from heldout.stored.audit import StoredAudit
from models.arrays import FILES
from models.blobs import BlobMissing
from models.file_names import MEMBERS_FILE
from models.relations import FILE_NAME as RELATIONS_FILE
from models.store import ingests
from models.store.claims import Claimed
from models.store.ingests import IngestedContent
from worker.ingest.limits import Limits
from worker.ingest.process.parent import IngestProcess
from worker.ingest.rejection import Rejection
from worker.ingest.report import Report
from worker.machine.scratch import Scratch
from worker.messages import StopCause
from worker.supervision.lease import AttemptLease

log = structlog.get_logger()

# Kept for this dataset alone, not by content: they tell the names of the owner's files, or come from its group rule.
OWN_FILES = (StoredAudit.file_name, MEMBERS_FILE, RELATIONS_FILE, "preview")


class IngestAttempt:
    """Runs in one thread of the worker, as a training's attempt does."""

    def __init__(
        self, claimed: Claimed, spec: IngestSpec, lease: AttemptLease, *, settings: Settings, scratch: Scratch
    ) -> None:
        self._claimed = claimed
        self._spec = spec
        self._lease = lease
        self._settings = settings
        self._scratch = scratch
        self._folder = Path()

    def run(self) -> None:
        """Ingest the upload. When this returns the job is settled, or another worker has it; it never raises."""
        with self._lease as lease:
            self._folder = self._scratch.attempt(lease.held.job_id, lease.held.attempt)
            try:
                self._ingest()
            except BlobMissing:
                self._reject(
                    Rejection(RejectionCode.UPLOAD_MISSING, "The upload is not in the blob store. Upload it again.")
                )
            except Rejection as rejection:
                if rejection.is_retryable:
                    lease.fail(rejection.code, rejection.detail)
                else:
                    self._reject(rejection)
            except StorageUnavailable:
                lease.fail(RejectionCode.STORAGE_UNAVAILABLE, "The blob store does not answer or is full.")
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _ingest(self) -> None:
        source, target = self._source(), self._folder / "dataset"
        limits = Limits(
            upload_bytes=self._settings.max_upload_bytes,
            normalised_bytes=self._settings.max_normalised_bytes,
            wall_s=int(self._spec.max_runtime_s),
        )
        with IngestProcess(source, self._spec.dataset, target, limits) as process:
            report = self._followed(process)
        if report is not None:
            self._store(report, target)

    def _source(self) -> Path:
        """The upload as a file: the blob itself where blobs are local, else a copy."""
        key = self._spec.upload
        self._lease.blobs.size(key)
        in_place = self._lease.blobs.local_folder(key)
        if in_place is not None:
            return in_place
        copy = self._folder / "upload"
        self._lease.blobs.fetch(key, copy, watch=self._lease.require)
        return copy

    def _followed(self, process: IngestProcess) -> Report | None:
        """The report of the process; None if the job was cancelled or given back meanwhile. Raises Rejection."""
        while True:
            self._lease.require()
            wanted = self._lease.requested_stop(out_of_time=False)  # the process has a limit of its own
            if wanted is StopCause.CANCEL:
                process.kill()
                self._lease.stop_as_requested()
                return None
            if wanted is StopCause.RELEASE:
                process.kill()
                self._lease.release()
                return None
            message = process.receive(0.1)
            if isinstance(message, Report):
                return message

    def _store(self, report: Report, target: Path) -> None:
        began = time.monotonic()
        dataset_id: str = self._dataset_id
        self._lease.persist(
            lambda session: ingests.reserve_content(session, self._lease.held, dataset_id, report.sha256)
        )
        for name in FILES:
            self._lease.blobs.put(f"datasets/{report.sha256}/{name}", target / name)
        for name in OWN_FILES:
            for file in sorted((target / name).rglob("*")) if (target / name).is_dir() else [target / name]:
                if file.is_file():
                    self._lease.blobs.put(f"datasets/{dataset_id}/{file.relative_to(target).as_posix()}", file)
        ingested = IngestedContent(
            sha256=report.sha256,
            size_bytes=report.size_bytes,
            shape=report.shape,
            dtype=report.dtype,
            value_range=report.range,
            classes=report.classes,
            splits=report.splits,
        )
        status = self._lease.settle(lambda session: ingests.mark_ready(session, self._lease.held, dataset_id, ingested))
        if status is JobStatus.SUCCEEDED:
            self._lease.forget([self._spec.upload])
            log.info("dataset_ready", dataset_id=dataset_id, stored_s=round(time.monotonic() - began, 3))

    def _reject(self, rejection: Rejection) -> None:
        log.info("dataset_rejected", dataset_id=self._dataset_id, code=rejection.code.value)
        self._lease.settle(lambda session: ingests.reject(session, self._lease.held, rejection.as_json()))
        self._lease.forget([self._spec.upload])

    @property
    def _dataset_id(self) -> str:
        return self._claimed.dataset_id
