"""One attempt at an ingest or at a derived version: starts its process, stores what it made, settles the dataset."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import assert_never

import structlog

from analysis.arrays.dataset import FILES
from analysis.arrays.file_names import MEMBERS_FILE
from analysis.arrays.relations import FILE_NAME as RELATIONS_FILE
from heldout.errors import QuotaExceeded
from heldout.errors.lost import Damaged
from heldout.lifecycle.dataset import RejectionCode
from heldout.lifecycle.job import JobStatus
from heldout.stored.audit import StoredAudit
from heldout.work.kinds import DeriveSpec, IngestSpec
from models.database import Session
from models.store import differences, file_digests, ingests, suspects
from models.store.ingests import IngestedContent
from worker.ingest.limits import Limits
from worker.ingest.process.parent import DeriveProcess, IngestProcess
from worker.ingest.rejection import Rejection
from worker.ingest.report import Report
from worker.supervision.attempt import Attempt

log = structlog.get_logger()

# Kept for this dataset alone, not by content: they tell the names of the owner's files, or come from its group rule.
OWN_FILES = (StoredAudit.file_name, MEMBERS_FILE, RELATIONS_FILE, "preview")


class IngestAttempt(Attempt[IngestSpec | DeriveSpec]):
    """Makes a dataset of an upload, or of another version."""

    what = "The ingest"

    def work(self, in_use: ExitStack) -> None:
        try:
            self._make(in_use)
        except Rejection as rejection:
            crashed = rejection.code is RejectionCode.CRASHED
            kill = self.watch.kill_of(-signal.SIGKILL) if crashed else None
            if kill is not None and not kill.is_cause:
                self.settle_kill(kill)
            elif rejection.is_retryable:
                self.lease.fail(rejection.code, rejection.detail)
            else:
                self._reject(rejection)

    def settle_missing(self) -> None:
        self._reject(_missing(self.spec))

    def settle_damaged(self, damaged: Damaged) -> None:
        self._reject(Rejection(RejectionCode.DATASET_DAMAGED, damaged.detail))

    def _make(self, in_use: ExitStack) -> None:
        target = self.folder / "dataset"
        limits = Limits(
            upload_bytes=self.settings.max_upload_bytes,
            normalised_bytes=self.settings.max_normalised_bytes,
            wall_s=int(self.spec.max_runtime_s),
        )
        self.watch.begin()
        with self._process(target, limits, in_use) as process:
            report = self._followed(process)
        self._store(report, target)

    def _process(self, target: Path, limits: Limits, in_use: ExitStack) -> IngestProcess | DeriveProcess:
        """The process that makes the dataset. What it reads stays in use as long as `in_use` does."""
        match self.spec:
            case IngestSpec() as spec:
                return IngestProcess(self._upload(spec.upload), spec.dataset, target, limits)
            case DeriveSpec() as spec:
                content = self.files.open_dataset(spec.base_sha256, in_use.enter_context)
                names = self.files.fetch_names(spec.base, self.folder)
                different = self.lease.read(lambda session: differences.find(session, spec.base))
                return DeriveProcess(content, names, spec, target, limits, different)
            case unknown:
                assert_never(unknown)

    def _upload(self, key: str) -> Path:
        """The upload as a file: the blob itself where blobs are local, else a copy."""
        expected = self.lease.read(lambda session: file_digests.find(session, key))
        if expected is not None:
            self.lease.blobs.require_whole(key, expected)
        in_place = self.lease.blobs.local_folder(key)
        if in_place is not None:
            return in_place
        copy = self.folder / "upload"
        self.lease.blobs.fetch(key, copy, watch=self.lease.require)
        return copy

    def _followed(self, process: IngestProcess | DeriveProcess) -> Report:
        """The report of the process. Raises Interrupted if the job was cancelled or is given back, Rejection."""
        while True:
            self.look_after(process.pid)  # the process has a limit of its own
            message = process.receive(0.1)
            if isinstance(message, Report):
                return message

    def _store(self, report: Report, target: Path) -> None:
        began = time.monotonic()
        dataset_id: str = self._dataset_id
        own = {path.relative_to(target): path for name in OWN_FILES for path in _files_in(target / name)}
        try:
            self.lease.persist(
                lambda session: ingests.reserve_content(
                    session,
                    self.lease.held,
                    dataset_id,
                    report.sha256,
                    size_bytes=report.size_bytes,
                    beside_bytes=sum(path.stat().st_size for path in own.values()),
                )
            )
        except QuotaExceeded as refused:
            raise Rejection(RejectionCode.QUOTA_EXCEEDED, refused.detail) from refused
        files = {f"datasets/{report.sha256}/{name}": target / name for name in FILES}
        files |= {f"datasets/{dataset_id}/{path.as_posix()}": file for path, file in own.items()}
        digests = self.files.store(files)
        ingested = IngestedContent(
            sha256=report.sha256,
            size_bytes=report.size_bytes,
            shape=report.shape,
            dtype=report.dtype,
            value_range=report.range,
            classes=report.classes,
            splits=report.splits,
            different=report.different,
        )

        def settled(session: Session) -> JobStatus:
            status = ingests.mark_ready(session, self.lease.held, dataset_id, ingested, digests)
            if status is JobStatus.SUCCEEDED and self.settings.check_labels:
                suspects.queue_unasked(session, dataset_id)
            return status

        status = self.lease.settle(settled)
        if status is JobStatus.SUCCEEDED:
            self._forget_upload()
            log.info("dataset_ready", dataset_id=dataset_id, stored_s=round(time.monotonic() - began, 3))

    def _reject(self, rejection: Rejection) -> None:
        log.info("dataset_rejected", dataset_id=self._dataset_id, code=rejection.code.value)
        self.lease.settle(lambda session: ingests.reject(session, self.lease.held, rejection.as_json()))
        self._forget_upload()

    def _forget_upload(self) -> None:
        if isinstance(self.spec, IngestSpec):
            self.lease.forget([self.spec.upload])

    @property
    def _dataset_id(self) -> str:
        return self.claimed.dataset.id


def _files_in(place: Path) -> list[Path]:
    """The file itself, or those in the folder."""
    return [path for path in sorted([place, *place.rglob("*")]) if path.is_file()]


def _missing(spec: IngestSpec | DeriveSpec) -> Rejection:
    if isinstance(spec, IngestSpec):
        return Rejection(RejectionCode.UPLOAD_MISSING, "The upload is not in the blob store. Upload it again.")
    return Rejection(
        RejectionCode.BASE_MISSING,
        f"The images of {spec.base_name} are not in the blob store any more. Upload them again.",
    )
